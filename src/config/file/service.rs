//! `[[service]]`: who uses certificates, and how it is made to.

use std::path::Path;
use std::time::Duration;

use super::endpoint::{self, Written};
use super::overlap::Owned;
use super::walk::{At, Declared, Read, Reported, Table, Value, Walk};
use super::{calm, chosen, clients, disk, keys, target};
use crate::config::kind::{Class, Kind, Preset};
use crate::config::{CertSpec, Endpoint, ServiceSpec};

/// Bounds and defaults: proof within 30 s, a hook within 60 s.
const PROOF_TIMEOUT: Duration = Duration::from_secs(30);
const HOOK_TIMEOUT: Duration = Duration::from_secs(60);

/// The same for what takes a restart.
const RESTART_PROOF_TIMEOUT: Duration = Duration::from_secs(120);
const RESTART_HOOK_TIMEOUT: Duration = Duration::from_secs(180);

/// A service and the paths that it replaces.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) spec: ServiceSpec,
    pub(super) owned: Vec<Owned>,
    pub(super) after: Vec<At<String>>,
}

/// Reads the service keys of `[defaults]` for their own sake.
pub(super) fn check_defaults<'a>(walk: &mut Walk<'a>, defaults: Table<'a>) {
    // Each notes its own problem. What only means something together with a kind is read with it.
    let _ = walk.optional(&defaults, "kind", kind);
    let _ = walk.optional(&defaults, "certificate", Walk::strings);
    let _ = walk.optional(&defaults, "after", Walk::strings);
    let _ = walk.optional(&defaults, "user", user);
    for key in ["reload", "test", "recover", "busy"] {
        let _ = walk.optional(&defaults, key, argv);
    }
    let _ = walk.optional(&defaults, "class", class);
    let _ = walk.optional(&defaults, "exec-prefix", exec_prefix);
    let _ = calm::read(walk, &defaults);
    let _ = clients::read(walk, &defaults);
    let _ = walk.optional(&defaults, "endpoint", endpoint::read);
    let _ = walk.optional(&defaults, "proof-timeout", timeout);
    let _ = walk.optional(&defaults, "hook-timeout", timeout);
    let _ = target::check_defaults(walk, &defaults);
}

/// Reads every service.
pub(super) fn read_all<'a>(
    walk: &mut Walk<'a>,
    roots: &[Table<'a>],
    defaults: Option<Table<'a>>,
    certificates: &Declared<CertSpec>,
) -> Declared<Served> {
    let mut services = Declared { names: Vec::new(), read: Vec::new() };
    for table in walk.array_tables(roots, "service", keys::SERVICE, defaults) {
        walk.refuse_unknown_keys(&table);
        let why = "say what it is: \"asterisk\", \"kamailio\", \"nginx\" ... or \"custom\"";
        let kind = walk.required(&table, "kind", kind, why);
        let name = walk.optional(&table, "name", |walk, value| {
            let name = walk.string(value)?;
            walk.name(&name).map(|()| name)
        });
        let name = match (name, &kind) {
            (Ok(Some(name)), _) => Ok(name),
            (Ok(None), Ok(kind)) => Ok(At { at: table.at, it: kind.to_string() }),
            _ => Err(Reported),
        };
        services.read.push(read(walk, &table, kind, &name, certificates));
        if let Ok(name) = name
            && walk.refuse_namesake(&name, &services.names, "the services").is_ok()
        {
            services.names.push(name);
        }
    }
    services
}

fn read<'a>(
    walk: &mut Walk<'a>,
    table: &Table<'a>,
    kind: Read<Kind>,
    name: &Read<At<String>>,
    certificates: &Declared<CertSpec>,
) -> Read<Served> {
    let chosen = chosen::read(walk, table, certificates);
    let after = walk.optional(table, "after", Walk::strings);
    let proof_timeout = walk.optional(table, "proof-timeout", timeout);
    let hook_timeout = walk.optional(table, "hook-timeout", timeout);
    let written_user = walk.optional(table, "user", user);
    let written_endpoints = walk.optional(table, "endpoint", endpoint::read);
    let written_class = walk.optional(table, "class", class);
    let exec_prefix = walk.optional(table, "exec-prefix", exec_prefix);
    let calm = calm::read(walk, table);
    let clients = clients::read(walk, table);
    let preset = kind.map(Kind::preset);
    let hooks = hooks(walk, table, preset);
    // What a kind presets cannot be filled in without it.
    let (kind, preset) = (kind?, preset?);
    let user = match written_user {
        Ok(None) => preset_user(walk, table, preset),
        written => written,
    };
    // A single one stands in for those that are in doubt: what is wrong with the targets is told.
    let any = || chosen::Chosen { at: table.at, names: Vec::new(), several: false };
    let layout = target::read(walk, table, preset, chosen.as_ref().unwrap_or(&any()));
    let chosen = chosen.map(|chosen| chosen.names);
    let endpoints = match (&chosen, written_endpoints) {
        (Ok(chosen), Ok(written)) => endpoints(walk, table, kind, written, chosen, certificates),
        _ => Err(Reported),
    };

    let (name, chosen, layout, hooks) = (name.clone()?.it, chosen?, layout?, hooks?);
    let after = after?.unwrap_or_default();
    let owned: Vec<Owned> = chosen.iter().flat_map(|name| layout.owned(name)).collect();
    disk::check_targets(walk, &owned);
    let clients = clients?;
    let class = written_class?.or(preset.map(|preset| preset.class)).unwrap_or(Class::Hot);
    let (proof, hook) = match class {
        Class::Hot | Class::Drain => (PROOF_TIMEOUT, HOOK_TIMEOUT),
        Class::Restart => (RESTART_PROOF_TIMEOUT, RESTART_HOOK_TIMEOUT),
    };
    let spec = ServiceSpec {
        name,
        kind,
        install: chosen.iter().map(|name| (name.clone(), layout.install(name))).collect(),
        certificates: chosen,
        after: after.iter().map(|name| name.it.clone()).collect(),
        user: user?,
        test: hooks.test,
        reload: hooks.reload,
        recover: hooks.recover,
        busy: hooks.busy,
        class,
        reloads_per_day: preset.and_then(|preset| preset.reloads_per_day),
        calm: calm?,
        exec_prefix: exec_prefix?.unwrap_or_default(),
        clients: clients.families,
        sip_domains: clients.sip_domains,
        strict_lint: clients.strict,
        endpoints: endpoints?,
        proof_timeout: proof_timeout?.unwrap_or(proof),
        hook_timeout: hook_timeout?.unwrap_or(hook),
    };
    warn_of_unwatched(walk, table, &spec);
    Ok(Served { spec, owned, after })
}

fn kind<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<Kind> {
    walk.word(value, Kind::named, &Kind::ALL.map(Kind::word))
}

fn class<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<Class> {
    let words = Class::ALL.map(Class::word);
    walk.word(value, |word| Class::ALL.into_iter().find(|class| class.word() == word), &words)
}

/// A hook splits it at spaces: nothing that a shell could see more in.
fn exec_prefix<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<Vec<String>> {
    let wanted = "a list of words, such as [\"docker\", \"exec\", \"asterisk\"]";
    let mut words = Vec::new();
    for value in walk.elements(value, wanted)? {
        let At { at, it } = walk.string(value)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,+%".contains(c);
        if !it.chars().all(plain) {
            let text =
                format!("{it:?} in exec-prefix: only letters, digits and -_./:=@,+% are safe");
            return Err(walk.problem(at, text));
        }
        words.push(it);
    }
    Ok(words)
}

fn timeout<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<Duration> {
    walk.duration(value, ("1 s", "1 h"))
}

fn user<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<String> {
    let name = walk.string(value)?;
    disk::check_user(walk, &name)?;
    Ok(name.it)
}

fn preset_user(
    walk: &mut Walk<'_>,
    table: &Table<'_>,
    preset: Option<&Preset>,
) -> Read<Option<String>> {
    let Some(user) = preset.and_then(|preset| preset.user) else { return Ok(None) };
    let name = At { at: table.at, it: user.to_owned() };
    disk::check_user(walk, &name)?;
    Ok(Some(name.it))
}

struct Hooks {
    test: Option<Vec<String>>,
    reload: Option<Vec<String>>,
    recover: Option<Vec<String>>,
    busy: Option<Vec<String>>,
}

/// One hook serves all events of a kind; `custom` runs what it is told.
fn hooks<'a>(walk: &mut Walk<'a>, table: &Table<'a>, preset: Read<Option<&Preset>>) -> Read<Hooks> {
    let test = walk.optional(table, "test", argv);
    let reload = walk.optional(table, "reload", argv);
    let recover = walk.optional(table, "recover", argv);
    let busy = walk.optional(table, "busy", argv);
    let (test, reload, recover, busy) = (test?, reload?, recover?, busy?);
    let Some(preset) = preset? else {
        return Ok(Hooks { test, recover: recover.or_else(|| reload.clone()), reload, busy });
    };
    let reload = match reload {
        Some(reload) => reload,
        None => {
            let at = At { at: table.at, it: vec![preset.hook.to_owned()] };
            check_argv(walk, at)?
        }
    };
    Ok(Hooks {
        test: test.or_else(|| preset.tests.then(|| reload.clone())),
        recover: recover.or_else(|| Some(reload.clone())),
        busy: busy.or_else(|| preset.counts_calls.then(|| reload.clone())),
        reload: Some(reload),
    })
}

/// A program and its arguments.
pub(super) fn argv<'a>(walk: &mut Walk<'a>, value: Value<'a>) -> Read<Vec<String>> {
    let wanted = "a list of the program and its arguments: no shell reads it";
    let elements = walk.elements(value, wanted)?;
    if elements.is_empty() {
        return Err(walk.problem(value.at, format!("{:?} is an empty list", value.key)));
    }
    let words: Vec<_> = elements.into_iter().map(|v| walk.argument(v)).collect();
    let words = words.into_iter().collect::<Read<Vec<_>>>()?;
    check_argv(walk, At { at: value.at, it: words })
}

fn check_argv(walk: &mut Walk<'_>, At { at, it }: At<Vec<String>>) -> Read<Vec<String>> {
    walk.hooks.insert(it.clone());
    let program = Path::new(it.first().map_or("", String::as_str));
    if !program.is_absolute() {
        let text = format!("the hook {program:?} must be an absolute path: nothing is looked up");
        return Err(walk.problem(at, text));
    }
    if walk.options.machine
        && let Err(reason) = disk::executable(program)
    {
        return Err(walk.problem(at, format!("the hook {}: {reason}", program.display())));
    }
    Ok(it)
}

fn endpoints(
    walk: &mut Walk<'_>,
    table: &Table<'_>,
    kind: Kind,
    written: Option<Vec<Written>>,
    chosen: &[String],
    certificates: &Declared<CertSpec>,
) -> Read<Vec<Endpoint>> {
    let spec = |name: &String| certificates.sound().find(|c| c.name == *name).ok_or(Reported);
    let specs = chosen.iter().map(spec).collect::<Read<Vec<_>>>()?;
    let written = match (written, kind.preset()) {
        (Some(written), _) => written,
        (None, Some(preset)) => endpoint::preset(preset.endpoints, table.at, chosen),
        (None, None) => Vec::new(),
    };
    endpoint::settle(walk, kind, &written, &specs)
}

fn warn_of_unwatched(walk: &mut Walk<'_>, table: &Table<'_>, spec: &ServiceSpec) {
    for name in &spec.certificates {
        if !spec.endpoints.iter().any(|e| e.certificate == *name) {
            let text = format!(
                "no endpoint of the service {:?} shows the certificate {name:?}: it will be \
                 installed, but stay unproved",
                spec.name
            );
            walk.warning(table.at, text);
        }
    }
}
