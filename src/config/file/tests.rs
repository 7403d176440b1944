use super::*;

mod alerts;
mod machine;
mod meaning;
mod mistakes;
mod shipped;

/// A configuration that is right, to which each test adds its own.
const SOUND: &str = r#"
[acme]
directory = "letsencrypt"
contact = ["noc@pbx.de"]
agree-to-terms = true
[[certificate]]
name = "pbx"
names = ["pbx.de", "sip.pbx.de"]
"#;

fn read(text: &str) -> Result<Loaded, Problems> {
    parse(Path::new("pbxcert.toml"), text)
}

/// The configuration, which must be sound.
fn config(text: &str) -> Config {
    match read(text) {
        Ok(loaded) => loaded.config,
        Err(problems) => panic!("{problems}"),
    }
}

/// The problems as they are shown, one a line.
fn problems(text: &str) -> Vec<String> {
    match read(text) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.list.iter().map(Problem::to_string).collect(),
    }
}

/// The one problem of a text.
fn problem(text: &str) -> String {
    let problems = problems(text);
    assert_eq!(problems.len(), 1, "{text}\n{problems:#?}");
    problems.concat()
}

/// The warnings of a sound text, without the one that nobody is told: most have no channel.
fn warnings(text: &str) -> Vec<String> {
    match read(text) {
        Ok(loaded) => {
            let told = loaded.warnings.iter().map(Problem::to_string);
            told.filter(|text| !text.contains("nobody is told when")).collect()
        }
        Err(problems) => panic!("{problems}"),
    }
}
