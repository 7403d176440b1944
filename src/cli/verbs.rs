//! The command line, as clap reads it.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use super::advisories::AdvisoryVerb;
use super::alert::AlertVerb;
use super::identity::IdentityVerb;

/// Keeps the TLS certificates of a telephone system valid, live and trusted.
#[derive(Debug, Parser)]
#[command(name = "pbxcert", version, max_term_width = 100)]
pub(super) struct Arguments {
    /// The configuration; conf.d/*.toml beside it is read as well
    #[arg(
        long,
        global = true,
        env = "PBXCERT_CONFIG",
        value_name = "FILE",
        default_value = "/etc/pbxcert/pbxcert.toml"
    )]
    pub(super) config: PathBuf,
    #[command(subcommand)]
    pub(super) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Watch over the certificates: the background service
    Run,
    /// Check the configuration: all problems at once, with their place
    Validate,
    /// What is issued, installed and live, and from which observation that is known
    Status {
        /// Print JSON with stable keys
        #[arg(long)]
        json: bool,
    },
    /// What happens next, when and why
    Plan {
        /// Only this certificate
        name: Option<String>,
        /// Simulate so many days ahead, as if everything went well
        #[arg(long, value_name = "N")]
        days: Option<u32>,
        /// Print JSON with stable keys
        #[arg(long)]
        json: bool,
    },
    /// Why the CA can or cannot reach this host, as a checklist with what to do
    Preflight {
        /// Only this certificate
        name: Option<String>,
        /// Print JSON with stable keys
        #[arg(long)]
        json: bool,
    },
    /// Renew what is due now, without waiting for a back-off
    Renew {
        /// Only this certificate
        name: Option<String>,
        /// Also when it is not due
        #[arg(long)]
        force: bool,
        /// Say what would be done, have the rehearsal CA validate the names, and change nothing
        #[arg(long)]
        dry_run: bool,
        /// Go over the CA's limits: repeat the certificate's name to confirm
        #[arg(long, value_name = "NAME")]
        over_budget: Option<String>,
        /// Print JSON with stable keys
        #[arg(long)]
        json: bool,
    },
    /// Take a certificate that was bought or made elsewhere, and bring it into service
    Import {
        /// The certificate in the configuration that it is for
        name: String,
        /// Certificate, key, chain: PEM, DER, PKCS#12, PKCS#7; `-` reads standard input
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// The password that opens them, in a file
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
        /// Also one that is worse than what is in use: ends earlier, loses names, is not trusted
        #[arg(long)]
        accept_worse: bool,
        /// Only judge it
        #[arg(long)]
        dry_run: bool,
        /// Print JSON with stable keys
        #[arg(long)]
        json: bool,
    },
    /// Install, reload and prove the newest revision now
    Deploy {
        /// Only this service
        service: Option<String>,
        /// Print JSON with stable keys
        #[arg(long)]
        json: bool,
    },
    /// Look at every endpoint now; exit codes are those of a monitoring plugin
    Verify {
        /// Look there instead, configured or not: sips://pbx.example:5061, smtp+starttls://...
        #[arg(long, value_name = "URL")]
        endpoint: Vec<String>,
        /// Server name to send to --endpoint instead of its host; "none": send none
        #[arg(long, value_name = "NAME", requires = "endpoint")]
        sni: Option<String>,
        /// Ask --endpoint only for such a certificate: rsa or ecdsa
        #[arg(long, value_name = "FAMILY", requires = "endpoint")]
        key: Option<String>,
        /// How long a look at --endpoint may take
        #[arg(long, value_name = "SECONDS", default_value_t = 5, requires = "endpoint")]
        timeout: u64,
        /// Print JSON with stable keys
        #[arg(long)]
        json: bool,
    },
    /// The daily check now: one verdict on the whole, with reasons and what to do; exit codes are
    /// those of a monitoring plugin
    Check {
        /// Print JSON with stable keys
        #[arg(long)]
        json: bool,
        /// Print the JSON Schema of that, and check nothing
        #[arg(long, conflicts_with = "json")]
        schema: bool,
    },
    /// One bundle for whoever helps: configuration, status, the last check and history, without
    /// keys, passwords, people's addresses and public IP addresses
    Report {
        /// Write it there, readable for its owner alone, instead of printing it
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// The signing request for a web shop or company CA; its private key stays on this machine
    Csr {
        /// The certificate
        name: String,
        /// Make another one, although one waits for its answer
        #[arg(long)]
        new: bool,
        /// Write it into this file, too
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Go back to the revision before, and hold it there
    Rollback {
        /// The certificate
        name: String,
        /// Print JSON with stable keys
        #[arg(long)]
        json: bool,
    },
    /// Keep what is live: nothing newer is deployed by itself until `release`
    Hold {
        /// The certificate
        name: String,
        /// Print JSON with stable keys
        #[arg(long)]
        json: bool,
    },
    /// Let the newest revision go in although phones might not trust it
    Approve {
        /// The certificate
        name: String,
        /// Print JSON with stable keys
        #[arg(long)]
        json: bool,
    },
    /// End a hold: the newest revision is wanted again
    Release {
        /// The certificate
        name: String,
        /// Print JSON with stable keys
        #[arg(long)]
        json: bool,
    },
    /// What happened, in order
    History {
        /// Only what concerns this certificate or service
        name: Option<String>,
        /// At most so many lines, the latest
        #[arg(long, default_value_t = 100)]
        lines: usize,
        /// Print JSON with stable keys
        #[arg(long)]
        json: bool,
    },
    /// Take something out of alerts and exit codes until a day
    Ack {
        /// A certificate, a service, or one thing of `alert list`: pbx, pbx/expiry
        item: String,
        /// The last day of it: 2027-03-31
        #[arg(long, value_name = "DATE", required_unless_present = "remove")]
        until: Option<String>,
        /// Who knows, and why
        #[arg(long, value_name = "TEXT", required_unless_present = "remove")]
        note: Option<String>,
        /// Alerts go on
        #[arg(long, conflicts_with_all = ["until", "note"])]
        remove: bool,
    },
    /// The ways to people, and what they were told
    Alert {
        #[command(subcommand)]
        what: AlertVerb,
    },
    /// Whether this system may be a copy of another, and what you say to that
    Identity {
        #[command(subcommand)]
        what: IdentityVerb,
    },
    /// Documents of known security issues: for whoever publishes them, and whoever reads them
    Advisories {
        #[command(subcommand)]
        what: AdvisoryVerb,
    },
    /// Print completions for a shell
    Completions {
        /// bash, zsh, fish, elvish or powershell
        shell: clap_complete::Shell,
    },
    /// Not for people: work that needs a process of its own
    #[command(hide = true)]
    Internal {
        /// What, and its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}
