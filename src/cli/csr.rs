//! `csr`: the signing request, printed and written for people.

use std::path::Path;

use super::act::now;
use super::{Context, Failed, exit, show};
use crate::config::Source;
use crate::fs::{self, Owner};
use crate::policy::upload;
use crate::reconcile::wait_for;
use crate::store::DropFolder;

/// Prints the request alone on standard output, so that it can be redirected; what to do with it
/// goes where people look.
pub(super) async fn print(
    context: &Context,
    name: &str,
    new: bool,
    out: Option<&Path>,
) -> Result<u8, Failed> {
    let found = context.certificates(Some(name))?;
    let Some(spec) = found.first() else { return Ok(exit::USAGE) };
    let takes_uploads = spec.source != Source::Acme;
    // Whoever has the answer must find the folder that is named below.
    if takes_uploads && let Err(error) = DropFolder::open(&spec.upload) {
        show::warning(&Failed::of(&error).text);
    }
    let store = context.store.certificate(name)?;
    let lock = || store.try_lock(now());
    let writer = wait_for(name, lock, &show::progress).await?;
    let csr = if new { writer.new_csr(spec, now())? } else { writer.csr(spec, now())? };
    drop(writer);
    if csr.is_new {
        let text = format!("a signing request lies in {}", csr.path.display());
        context.tell(name, "csr", &text, now())?;
    }
    if let Some(out) = out {
        let out = std::path::absolute(out).map_err(|error| Failed::of(&error))?;
        fs::replace(&out, csr.pem.as_bytes(), 0o644, Owner::default())
            .map_err(|error| Failed::of(&error))?;
    }
    show::line(csr.pem.trim_end());
    let beside = csr.beside.iter().map(|path| path.display().to_string());
    let files = [csr.path.display().to_string()].into_iter().chain(beside);
    let files = files.chain(out.map(|out| out.display().to_string()));
    let files = files.collect::<Vec<_>>().join(" and ");
    show::progress(&if takes_uploads {
        format!(
            "the request is in {files}; give it to your web shop or company CA, and upload what \
             they send into {}/ (no key belongs to it; see {})",
            spec.upload.dir.display(),
            csr.path.with_extension("txt").display()
        )
    } else {
        format!("the request is in {files}. {}", upload::request_of_acme(name))
    });
    Ok(exit::DONE)
}
