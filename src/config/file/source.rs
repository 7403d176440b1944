//! The files of a configuration: which they are, whether they may be trusted, what is in them.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::Options;
use super::problem::Problem;
use super::syntax::{Syntax, headers};

/// Larger files are no configuration.
const MOST_BYTES: u64 = 1 << 20;

/// A file of the configuration.
#[derive(Debug)]
pub(super) struct Source {
    /// As it was named.
    pub(super) path: PathBuf,
    /// As it was read; empty when it could not be.
    pub(super) text: String,
    /// What is sound of it.
    pub(super) syntax: Syntax,
    /// Why it could not be read, or may not be trusted.
    pub(super) refused: Vec<String>,
}

impl Source {
    /// A file whose text is known.
    pub(super) fn of(path: PathBuf, text: String) -> Self {
        let syntax = Syntax::of(&text);
        Self { path, text, syntax, refused: Vec::new() }
    }

    /// A file that is missing from the configuration.
    fn refused(path: PathBuf, reason: String) -> Self {
        let mut source = Self::of(path, String::new());
        source.syntax.lost_tables = true;
        source.refused.push(reason);
        source
    }

    /// A problem of this file; without an offset, of the file as a whole.
    pub(super) fn problem(&self, offset: Option<usize>, text: String) -> Problem {
        let (line, column) = offset.map_or((0, 0), |at| self.line_and_column(at));
        Problem { file: self.path.clone(), line, column, text }
    }

    /// From 1; columns in characters.
    pub(super) fn line_and_column(&self, at: usize) -> (usize, usize) {
        let before = self.text.get(..at).unwrap_or(&self.text);
        let line = before.rsplit('\n').next().unwrap_or_default().trim_start_matches('\u{feff}');
        (1 + before.matches('\n').count(), 1 + line.chars().count())
    }

    /// Whether a mistake in the text may be why this key is missing from the table that begins
    /// at `table`.
    pub(super) fn may_have_lost(&self, table: usize, key: &str) -> bool {
        let section = |at: usize| headers(&self.text).take_while(|start| *start <= at).count();
        self.syntax.lost_keys.iter().any(|(at, lost)| lost == key && section(*at) == section(table))
    }
}

/// The main file and `conf.d/*.toml` beside it, in name order.
pub(super) fn read_all(main: &Path, options: Options) -> Vec<Source> {
    let mut sources = vec![read(main, options)];
    let folder = main.parent().unwrap_or(Path::new("")).join("conf.d");
    match conf_d(&folder) {
        Ok(paths) => match unguarded(&folder, options) {
            // Said of the folder once, not again of each file in it.
            Some(reason) => {
                sources.extend(paths.iter().map(|path| read(path, Options::TEXT)));
                let mut source = Source::of(folder, String::new());
                source.refused.push(reason);
                sources.push(source);
            }
            None => sources.extend(paths.iter().map(|path| read(path, options))),
        },
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => sources.push(Source::refused(folder, format!("cannot be read: {e}"))),
    }
    sources
}

fn conf_d(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in folder.read_dir()? {
        let name = entry?.file_name();
        let text = name.to_string_lossy();
        if text.ends_with(".toml") && !text.starts_with('.') {
            paths.push(folder.join(name));
        }
    }
    paths.sort();
    Ok(paths)
}

fn read(path: &Path, options: Options) -> Source {
    let text = match text_of(path) {
        Ok(text) => text,
        Err(reason) => return Source::refused(path.to_owned(), reason),
    };
    let mut source = Source::of(path.to_owned(), text);
    source.refused.extend(unguarded(path, options));
    source
}

/// Who else can write this, if anybody.
fn unguarded(path: &Path, options: Options) -> Option<String> {
    let reason = options.machine.then(|| crate::fs::guarded(path).err())??;
    Some(format!("the configuration is code for root: {reason}"))
}

fn text_of(path: &Path) -> Result<String, String> {
    let cannot = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::NotFound => {
            "there is no such file; write it, or name another with --config".to_owned()
        }
        _ => format!("cannot be read: {e}"),
    };
    // Looked at before it is opened: to open a pipe would wait for ever.
    if !path.metadata().map_err(cannot)?.is_file() {
        return Err("is no regular file".to_owned());
    }
    let file = std::fs::File::open(path).map_err(cannot)?;
    let mut bytes = Vec::new();
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err("is larger than 1 MiB".to_owned());
    }
    String::from_utf8(bytes).map_err(|e| {
        let line = 1 + e.as_bytes()[..e.utf8_error().valid_up_to()]
            .iter()
            .filter(|b| **b == b'\n')
            .count();
        format!("is not UTF-8 text, see line {line}")
    })
}
