//! argv -> `cli::run` -> exit code.

fn main() -> std::process::ExitCode {
    pbxcert::cli::run()
}
