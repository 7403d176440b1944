//! One walk over the spanned tables that collects every problem instead of stopping at the first.
//!
//! A reader returns `Err(Reported)` when something was written wrongly: the problem is noted
//! already, and whoever needs the value just gives up (`?`) after reading its neighbours.

use std::cell::OnceCell;
use std::collections::BTreeSet;

use toml::de::{DeTable, DeValue};

use super::Options;
use super::keys::{self, Section};
use super::problem::{Problem, Problems};
use super::source::Source;

/// The problem has been noted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reported;

/// A value, or the knowledge that its problem has been noted.
pub(super) type Read<T> = Result<T, Reported>;

/// A place in one of the files.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Place {
    pub(super) file: usize,
    pub(super) offset: Option<usize>,
}

/// Something and where it was written.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) at: Place,
    pub(super) it: T,
}

/// Tables that have names, and what became of each.
#[derive(Debug)]
pub(super) struct Declared<T> {
    /// Names, also of those that could not be read.
    pub(super) names: Vec<At<String>>,
    /// What each means.
    pub(super) read: Vec<Read<T>>,
}

impl<T> Declared<T> {
    /// Those that could be read.
    pub(super) fn sound(&self) -> impl Iterator<Item = &T> {
        self.read.iter().flatten()
    }

    /// All of them.
    pub(super) fn specs(self) -> Read<Vec<T>> {
        self.read.into_iter().collect()
    }

    /// What they are called.
    pub(super) fn words(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| name.it.as_str())
    }
}

/// What is collected on the way.
pub(super) struct Walk<'a> {
    pub(super) options: Options,
    /// Hooks named by services, also by those that are wrong otherwise.
    pub(super) hooks: BTreeSet<Vec<String>>,
    /// `/proc/self/mountinfo`, read when first asked for.
    pub(super) mounts: OnceCell<String>,
    sources: &'a [Source],
    problems: Vec<(Place, String)>,
    warnings: Vec<(Place, String)>,
}

/// A table, what it is called, and the table that stands in for its missing keys.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table<'a> {
    pub(super) section: Section,
    pub(super) at: Place,
    entries: &'a DeTable<'a>,
    defaults: Option<Defaults<'a>>,
}

#[derive(Clone, Copy, Debug)]
struct Defaults<'a> {
    file: usize,
    entries: &'a DeTable<'a>,
}

/// A value with its key and place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value<'a> {
    pub(super) at: Place,
    pub(super) key: &'static str,
    pub(super) value: &'a DeValue<'a>,
}

impl<'a> Walk<'a> {
    /// Begins with what is wrong with the files themselves.
    pub(super) fn new(sources: &'a [Source], options: Options) -> Self {
        let mut walk = Self {
            options,
            hooks: BTreeSet::new(),
            mounts: OnceCell::new(),
            sources,
            problems: Vec::new(),
            warnings: Vec::new(),
        };
        for (file, source) in sources.iter().enumerate() {
            for reason in &source.refused {
                walk.problem(Place { file, offset: None }, reason);
            }
            for (at, text) in &source.syntax.mistakes {
                walk.problem(Place { file, offset: Some(*at) }, text);
            }
        }
        walk
    }

    /// Notes a problem.
    pub(super) fn problem(&mut self, at: Place, text: impl Into<String>) -> Reported {
        self.problems.push((at, text.into()));
        Reported
    }

    /// Notes what looks wrong, but may be meant.
    pub(super) fn warning(&mut self, at: Place, text: impl Into<String>) {
        self.warnings.push((at, text.into()));
    }

    /// Whether tables, or names of tables, could not be read: then nobody may call a name unknown.
    pub(super) fn has_lost_tables(&self) -> bool {
        let lost_name = |s: &Source| s.syntax.lost_keys.iter().any(|(_, key)| key == "name");
        self.sources.iter().any(|s| s.syntax.lost_tables || lost_name(s))
    }

    /// The start of the main file as a whole.
    pub(super) fn start() -> Place {
        Place { file: 0, offset: None }
    }

    /// `file:line:column`.
    pub(super) fn shown(&self, at: Place) -> String {
        let source = &self.sources[at.file];
        match at.offset {
            None => source.path.display().to_string(),
            Some(offset) => {
                let (line, column) = source.line_and_column(offset);
                format!("{}:{line}:{column}", source.path.display())
            }
        }
    }

    /// What was noted: problems, then warnings, each once and in order.
    pub(super) fn finish(self) -> (Problems, Vec<Problem>) {
        let in_order = |mut noted: Vec<(Place, String)>| -> Vec<Problem> {
            // A mistake in `[defaults]` is met once for each table that takes it.
            noted.sort();
            noted.dedup();
            let problem =
                |(at, text): (Place, String)| self.sources[at.file].problem(at.offset, text);
            noted.into_iter().map(problem).collect()
        };
        let warnings = in_order(self.warnings);
        (Problems { list: in_order(self.problems), hooks: self.hooks }, warnings)
    }

    /// Notes each key that is none of the section's.
    pub(super) fn refuse_unknown_keys(&mut self, table: &Table<'a>) {
        for (key, _) in table.entries {
            let word: &str = key.get_ref();
            if table.section.keys.contains(&word) {
                continue;
            }
            let at = Place { file: table.at.file, offset: Some(key.span().start) };
            let hint = match keys::nearest(word, table.section.keys.iter().copied()) {
                Some(near) => format!("; did you mean {near:?}?"),
                None => at_home(word),
            };
            self.problem(at, format!("unknown key {word:?} in {}{hint}", table.section.title));
        }
    }

    /// A key that must be there.
    pub(super) fn required<T>(
        &mut self,
        table: &Table<'a>,
        key: &'static str,
        read: impl FnOnce(&mut Self, Value<'a>) -> Read<T>,
        why: &str,
    ) -> Read<T> {
        match table.find(key) {
            Some(value) => read(self, value),
            None => Err(self.missing(table, key, why)),
        }
    }

    /// A key that may be missing.
    pub(super) fn optional<T>(
        &mut self,
        table: &Table<'a>,
        key: &'static str,
        read: impl FnOnce(&mut Self, Value<'a>) -> Read<T>,
    ) -> Read<Option<T>> {
        table.find(key).map(|value| read(self, value)).transpose()
    }

    /// Notes that a key is missing, unless it may be lost to a mistake that is noted already.
    pub(super) fn missing(&mut self, table: &Table<'_>, key: &str, why: &str) -> Reported {
        let source = &self.sources[table.at.file];
        let misspelt = || {
            let unknown = |word: &&str| !table.section.keys.contains(word);
            let mut words = table.entries.keys().map(|k| -> &str { k.get_ref() });
            words.any(|w| {
                unknown(&w) && keys::nearest(w, table.section.keys.iter().copied()) == Some(key)
            })
        };
        let lost = || table.at.offset.is_some_and(|at| source.may_have_lost(at, key));
        if misspelt() || lost() {
            return Reported;
        }
        self.problem(table.at, format!("{} lacks the key {key:?}: {why}", table.section.title))
    }

    /// A key that may stand in one of the files only.
    pub(super) fn once(&mut self, roots: &[Table<'a>], key: &'static str) -> Option<Value<'a>> {
        let mut found = roots.iter().filter_map(|root| root.find(key));
        let first = found.next()?;
        for again in found {
            let text = format!("{key:?} stands here and at {}; keep one", self.shown(first.at));
            self.problem(again.at, text);
        }
        Some(first)
    }

    /// Notes that a value is of another type.
    pub(super) fn wrong_type(&mut self, value: Value<'a>, wanted: &str) -> Reported {
        let text = format!("{:?} must be {wanted}, not {}", value.key, type_of(value.value));
        self.problem(value.at, text)
    }

    /// A table.
    pub(super) fn table(&mut self, value: Value<'a>, section: Section) -> Read<Table<'a>> {
        match value.value {
            DeValue::Table(entries) => Ok(Table { section, at: value.at, entries, defaults: None }),
            _ => Err(self.wrong_type(value, &format!("a table: {}", section.title))),
        }
    }

    /// Tables by name, from all files: `[issuer.NAME]`.
    pub(super) fn named_tables(
        &mut self,
        roots: &[Table<'a>],
        key: &'static str,
        section: Section,
    ) -> Vec<(At<String>, Table<'a>)> {
        let mut found: Vec<(At<String>, Table<'a>)> = Vec::new();
        for root in roots {
            let Some(value) = root.find(key) else { continue };
            let DeValue::Table(entries) = value.value else {
                self.wrong_type(value, &format!("tables by name: {}", section.title));
                continue;
            };
            for (name, value) in entries {
                let at = Place { file: root.at.file, offset: Some(value.span().start) };
                let name = At { at, it: name.get_ref().clone().into_owned() };
                let value = Value { at, key, value: value.get_ref() };
                let Ok(table) = self.table(value, section) else { continue };
                if self.refuse_namesake(&name, found.iter().map(|(n, _)| n), key).is_ok()
                    && self.name(&name).is_ok()
                {
                    found.push((name, table));
                }
            }
        }
        found
    }

    /// Tables of an array, from all files: `[[certificate]]`.
    pub(super) fn array_tables(
        &mut self,
        roots: &[Table<'a>],
        key: &'static str,
        section: Section,
        defaults: Option<Table<'a>>,
    ) -> Vec<Table<'a>> {
        let defaults = defaults.map(|t| Defaults { file: t.at.file, entries: t.entries });
        let mut tables = Vec::new();
        for root in roots {
            let Some(value) = root.find(key) else { continue };
            if let DeValue::Table(_) = value.value {
                let text =
                    format!("write {} with two brackets: there may be several", section.title);
                self.problem(value.at, text);
            }
            let wanted = format!("a list of tables: {}", section.title);
            let elements = match value.value {
                DeValue::Table(_) => vec![value],
                _ => self.elements(value, &wanted).unwrap_or_default(),
            };
            for element in elements {
                if let Ok(table) = self.table(element, section) {
                    tables.push(Table { defaults, ..table });
                }
            }
        }
        tables
    }
}

impl<'a> Table<'a> {
    /// The root of a file.
    pub(super) fn root(file: usize, entries: &'a DeTable<'a>) -> Self {
        Self { section: keys::TOP, at: Place { file, offset: None }, entries, defaults: None }
    }

    /// A table without keys of its own, so that the defaults are read once by themselves.
    pub(super) fn only_defaults(self, nothing: &'a DeTable<'a>) -> Self {
        let defaults = Some(Defaults { file: self.at.file, entries: self.entries });
        Self { entries: nothing, defaults, ..self }
    }

    /// The value of a key, here or in the defaults.
    pub(super) fn find(&self, key: &'static str) -> Option<Value<'a>> {
        let own = self.entries.get(key).map(|v| (self.at.file, v));
        let (file, value) =
            own.or_else(|| self.defaults.and_then(|d| d.entries.get(key).map(|v| (d.file, v))))?;
        let at = Place { file, offset: Some(value.span().start) };
        Some(Value { at, key, value: value.get_ref() })
    }
}

impl<'a> Value<'a> {
    /// Whether it is a table.
    pub(super) fn is_table(&self) -> bool {
        matches!(self.value, DeValue::Table(_))
    }

    /// A whole number that is not negative.
    pub(super) fn number(&self) -> Option<u32> {
        match self.value {
            DeValue::Integer(it) => u32::from_str_radix(it.as_str(), it.radix()).ok(),
            _ => None,
        }
    }
}

/// Where a key that is unknown here belongs.
fn at_home(word: &str) -> String {
    match keys::SECTIONS.iter().find(|s| s.title != keys::DEFAULTS.title && s.keys.contains(&word))
    {
        Some(section) => format!("; it belongs to {}", section.title),
        None => String::new(),
    }
}

/// `"a", "b" and "c"`.
pub(super) fn listed(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|w| format!("{w:?}")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

fn type_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
