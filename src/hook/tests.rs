use std::os::unix::fs::PermissionsExt as _;
use std::time::Instant;

use tempfile::TempDir;

use super::*;

const LIMIT: Duration = Duration::from_secs(20);

/// A folder with one script in it.
struct Script {
    folder: TempDir,
    path: PathBuf,
}

impl Script {
    fn new(body: &str) -> Self {
        Self::with_mode(&format!("#!/bin/sh\n{body}\n"), 0o755)
    }

    fn with_mode(text: &str, mode: u32) -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("hook");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        Self { folder, path }
    }

    fn argv(&self) -> Vec<String> {
        vec![self.path.to_str().unwrap().to_owned()]
    }

    /// A file beside the script, for what it has to tell: its process number, say.
    fn note(&self) -> PathBuf {
        self.folder.path().join("note")
    }

    async fn run(&self, limit: Duration) -> Result<Output, Error> {
        let note = self.note().to_str().unwrap().to_owned();
        loop {
            match run(&self.argv(), &[("NOTE".to_owned(), note.clone())], limit).await {
                // Another test forked while this script was open for writing, and holds it still.
                Err(Error::Start { source, .. })
                    if source.kind() == io::ErrorKind::ExecutableFileBusy => {}
                outcome => return outcome,
            }
        }
    }
}

fn alive(note: &Path) -> bool {
    let pid = std::fs::read_to_string(note).unwrap();
    // A zombie is dead: whoever reaps it in this machine may take its time.
    std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().starts_with(" Z"))
}

/// Waits for what SIGKILL does, which takes the kernel a moment.
async fn gone(note: &Path) -> bool {
    for _ in 0..200 {
        if !alive(note) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

fn refusal(outcome: Result<Output, Error>) -> String {
    match outcome {
        Err(Error::Refused { reason, .. }) => reason,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn what_is_missing_or_no_file_is_refused() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| vec![folder.path().join(name).to_str().unwrap().to_owned()];
    assert!(refusal(run(&path("none"), &[], LIMIT).await).contains("No such file"));
    assert!(refusal(run(&path(""), &[], LIMIT).await).contains("no regular file"));
    assert!(refusal(run(&["true".to_owned()], &[], LIMIT).await).contains("absolute"));
    assert!(refusal(run(&[], &[], LIMIT).await).contains("absolute"));
}

#[tokio::test]
async fn what_others_can_write_is_refused_and_not_run() {
    for mode in [0o777, 0o775, 0o757] {
        let script = Script::with_mode("#!/bin/sh\necho ran > \"$NOTE\"\n", mode);
        refusal(script.run(LIMIT).await);
        assert!(!script.note().exists());
    }
}

#[tokio::test]
async fn a_folder_that_others_can_write_is_refused() {
    let script = Script::new("echo ran > \"$NOTE\"");
    let open = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(script.folder.path(), open).unwrap();
    refusal(script.run(LIMIT).await);
    assert!(!script.note().exists());
}

#[tokio::test]
async fn what_is_not_executable_is_refused() {
    let script = Script::with_mode("#!/bin/sh\n", 0o644);
    assert!(refusal(script.run(LIMIT).await).contains("chmod 0755"));
}

#[tokio::test]
async fn a_text_without_interpreter_is_never_given_to_a_shell() {
    let script = Script::with_mode("echo ran > \"$NOTE\"\n", 0o755);
    let outcome = script.run(LIMIT).await;
    assert!(matches!(outcome, Err(Error::Start { .. })), "{outcome:?}");
    assert!(!script.note().exists());
}

#[tokio::test]
async fn exit_codes_are_told() {
    for (body, code) in [("exit 0", 0), ("exit 3", 3), ("exit 75", 75), ("kill -TERM $$", 143)] {
        let output = Script::new(body).run(LIMIT).await.unwrap();
        assert_eq!((output.code, output.text.as_str()), (code, ""), "{body}");
        assert_eq!(output.try_later(), code == 75);
        assert_eq!(output.done(), code == 0);
    }
}

#[tokio::test]
async fn the_environment_is_exactly_what_is_documented() {
    let variables = [
        ("PBXCERT_EVENT".to_owned(), "reload".to_owned()),
        ("PBXCERT_NAMES".to_owned(), "a.example b.example".to_owned()),
    ];
    let output = run(&["/usr/bin/env".to_owned()], &variables, LIMIT).await.unwrap();
    let mut lines: Vec<&str> = output.text.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "LANG=C.UTF-8",
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
            "PBXCERT_EVENT=reload",
            "PBXCERT_NAMES=a.example b.example",
        ]
    );
}

#[tokio::test]
async fn arguments_stay_whole_the_folder_is_the_root_and_nothing_is_on_standard_input() {
    let script = Script::new("pwd; echo \"$# $1\"; cat");
    let mut argv = script.argv();
    argv.extend(["two words; $(exit)".to_owned(), "b".to_owned()]);
    let output = run(&argv, &[], LIMIT).await.unwrap();
    assert_eq!(output.text, "/\n2 two words; $(exit)");
}

#[tokio::test]
async fn both_streams_come_in_order_and_without_control_characters() {
    let script = Script::new(r#"echo one; echo two >&2; printf 'three\033[31m\r\n\342\200\256x'"#);
    let output = script.run(LIMIT).await.unwrap();
    assert_eq!(output.text, "one\ntwo\nthree\\u{1b}[31m\\r\n\\u{202e}x");
}

#[tokio::test]
async fn ten_mebibytes_of_output_are_cut_and_do_not_block_the_hook() {
    let script = Script::new("head -c 10485760 /dev/zero | tr '\\0' x; exit 4");
    let output = script.run(LIMIT).await.unwrap();
    assert_eq!(output.code, 4);
    assert!(output.text.len() <= 64 * 1024 && output.text.len() > 60 * 1024);
    assert!(output.text.ends_with("[cut at 64 KiB]"));
}

#[tokio::test]
async fn output_stays_small_also_when_every_byte_is_escaped() {
    let script = Script::new("head -c 65536 /dev/zero");
    assert!(script.run(LIMIT).await.unwrap().text.len() <= 64 * 1024);
}

#[tokio::test]
async fn a_hook_that_hangs_is_killed_at_the_limit_with_its_children() {
    let script = Script::new("echo started; sleep 300 & echo $! > \"$NOTE\"; wait");
    let begun = Instant::now();
    let error = script.run(Duration::from_millis(300)).await.unwrap_err();
    let Error::TimedOut { text, seconds, .. } = error else { panic!("{error}") };
    assert_eq!((text.as_str(), seconds), ("started", 1));
    assert!(begun.elapsed() < Duration::from_secs(3));
    assert!(gone(&script.note()).await);
}

#[tokio::test]
async fn a_child_that_stays_and_holds_the_pipe_is_gone_afterwards() {
    let script = Script::new("sleep 300 & echo $! > \"$NOTE\"; echo done");
    let begun = Instant::now();
    let output = script.run(LIMIT).await.unwrap();
    assert_eq!((output.code, output.text.as_str()), (0, "done"));
    assert!(begun.elapsed() < Duration::from_secs(3), "reading stops 1 s after the end");
    assert!(gone(&script.note()).await);
}

#[tokio::test]
async fn a_child_that_stays_without_the_pipe_is_gone_afterwards() {
    let script = Script::new("sleep 300 >/dev/null 2>&1 & echo $! > \"$NOTE\"");
    script.run(LIMIT).await.unwrap();
    assert!(gone(&script.note()).await);
}

#[tokio::test]
async fn a_child_that_left_the_group_cannot_hold_us_up() {
    let script = Script::new("setsid sh -c 'echo $$ > \"$NOTE\"; exec sleep 30' & sleep 0.2");
    let begun = Instant::now();
    assert_eq!(script.run(LIMIT).await.unwrap().code, 0);
    assert!(begun.elapsed() < Duration::from_secs(4));
    let pid = std::fs::read_to_string(script.note()).unwrap().trim().parse().unwrap();
    rustix::process::kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

#[tokio::test]
async fn a_hook_that_closes_its_output_and_goes_on_is_waited_for() {
    let script = Script::new("echo before; exec >&- 2>&-; sleep 0.3; exit 7");
    let output = script.run(LIMIT).await.unwrap();
    assert_eq!((output.code, output.text.as_str()), (7, "before"));
}

#[tokio::test]
async fn a_hook_that_is_no_longer_awaited_is_killed() {
    let script = Script::new("echo $$ > \"$NOTE\"; exec sleep 300");
    {
        let running = script.run(LIMIT);
        tokio::pin!(running);
        while !std::fs::read_to_string(script.note()).is_ok_and(|text| text.ends_with('\n')) {
            assert!(timeout(Duration::from_millis(10), &mut running).await.is_err());
        }
    }
    assert!(gone(&script.note()).await);
}
