//! Old workers: after a reload some servers keep the process of before for what was open then.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::config::kind::Kind;

/// How many processes of that kind on this machine serve nothing new any more, and stay for the
/// connections that were open before a reload. `reloaded` is how long ago the service took its
/// last reload: Apache's children look all alike, but those of before are older.
///
/// 0 for kinds that do not work so, and where /proc cannot be read. Processes in containers are
/// seen where the machine sees them.
pub fn old_workers(kind: Kind, reloaded: Option<Duration>) -> usize {
    match kind {
        Kind::Nginx | Kind::Haproxy | Kind::Apache => {
            count(kind, &processes(Path::new("/proc")), reloaded)
        }
        _ => 0,
    }
}

/// What is told of a process (proc_pid_stat(5)).
#[derive(Clone, Debug)]
struct Process {
    pid: u32,
    parent: u32,
    name: String,
    /// Its arguments, or the title that it gave itself.
    words: Vec<String>,
    age: Duration,
}

fn count(kind: Kind, processes: &[Process], reloaded: Option<Duration>) -> usize {
    match kind {
        // nginx says so itself in its title.
        Kind::Nginx => {
            let old = "nginx: worker process is shutting down";
            processes.iter().filter(|p| p.words.join(" ").trim_end() == old).count()
        }
        // A new worker, and for a moment its master, has `-sf` and the processes that are to end.
        Kind::Haproxy => {
            let named = |p: &&Process| p.name.starts_with("haproxy");
            let tellers = processes.iter().filter(named);
            let told: BTreeSet<(u32, u32)> = tellers
                .flat_map(|p| to_end(&p.words).flat_map(|pid| [(p.pid, pid), (p.parent, pid)]))
                .collect();
            processes.iter().filter(named).filter(|p| told.contains(&(p.parent, p.pid))).count()
        }
        // Of a parent with children from after the reload, those from before it.
        Kind::Apache => {
            let Some(reloaded) = reloaded else { return 0 };
            let is_httpd = |p: &&Process| p.name == "apache2" || p.name == "httpd";
            let parents: BTreeSet<u32> = processes.iter().filter(is_httpd).map(|p| p.pid).collect();
            let children =
                || processes.iter().filter(is_httpd).filter(|p| parents.contains(&p.parent));
            let took_it: BTreeSet<u32> =
                children().filter(|p| p.age <= reloaded).map(|p| p.parent).collect();
            let old = |p: &&Process| p.age > reloaded && took_it.contains(&p.parent);
            children().filter(old).count()
        }
        _ => 0,
    }
}

fn to_end(words: &[String]) -> impl Iterator<Item = u32> {
    let after = words.iter().skip_while(|word| *word != "-sf" && *word != "-st").skip(1);
    after.map_while(|word| word.parse().ok())
}

fn processes(proc: &Path) -> Vec<Process> {
    let uptime = fs::read_to_string(proc.join("uptime")).ok().and_then(|text| uptime(&text));
    let (Some(uptime), Ok(entries)) = (uptime, fs::read_dir(proc)) else { return Vec::new() };
    let pids = entries.filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: u32| {
        let folder = proc.join(pid.to_string());
        let stat = fs::read_to_string(folder.join("stat")).ok()?;
        let words = fs::read(folder.join("cmdline")).ok()?;
        process(pid, &stat, &words, uptime)
    })
    .collect()
}

/// The first number of /proc/uptime, in seconds.
fn uptime(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.split(' ').next()?.parse().ok()?).ok()
}

/// `PID (NAME) STATE PARENT ...`, the 22nd field being its start in hundredths of a second since
/// boot. `None` for one that has ended, and for garbage.
fn process(pid: u32, stat: &str, words: &[u8], uptime: Duration) -> Option<Process> {
    let (head, rest) = stat.rsplit_once(')')?;
    let name = head.split_once('(')?.1.to_owned();
    let fields: Vec<&str> = rest.split_whitespace().collect();
    if matches!(*fields.first()?, "Z" | "X") {
        return None;
    }
    let ticks: u64 = fields.get(19)?.parse().ok()?;
    let words = String::from_utf8_lossy(words);
    Some(Process {
        pid,
        parent: fields.get(1)?.parse().ok()?,
        name,
        words: words.split('\0').filter(|w| !w.is_empty()).map(str::to_owned).collect(),
        age: uptime.saturating_sub(Duration::from_millis(ticks.saturating_mul(10))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(pid: u32, parent: u32, name: &str, words: &str, age: u64) -> Process {
        let words = words.split(' ').map(str::to_owned).collect();
        Process { pid, parent, name: name.to_owned(), words, age: Duration::from_secs(age) }
    }

    #[test]
    fn nginx_says_which_worker_is_on_its_way_out() {
        let all = [
            one(1, 0, "nginx", "nginx: master process /usr/sbin/nginx", 99),
            one(2, 1, "nginx", "nginx: worker process is shutting down", 99),
            one(3, 1, "nginx", "nginx: worker process", 5),
        ];
        assert_eq!(count(Kind::Nginx, &all, None), 1);
    }

    #[test]
    fn haproxy_s_new_worker_names_those_that_are_to_end() {
        let plain = "haproxy -W -f /etc/haproxy/haproxy.cfg";
        let all = [
            one(10, 1, "haproxy", plain, 99),
            one(12, 10, "haproxy", plain, 99),
            // 13 has ended; its number went to another.
            one(13, 1, "haproxy", plain, 1),
            one(14, 10, "haproxy", "haproxy -sf 12 13 -x sockpair@3 -W", 5),
        ];
        assert_eq!(count(Kind::Haproxy, &all, None), 1);
        assert_eq!(count(Kind::Haproxy, &all[..3], None), 0, "nobody is told to end");
    }

    #[test]
    fn apache_s_old_children_are_those_from_before_the_reload_of_a_parent_that_took_it() {
        let all = [
            one(10, 1, "apache2", "/usr/sbin/apache2 -k start", 99),
            one(11, 10, "apache2", "/usr/sbin/apache2 -k start", 50),
            one(12, 10, "apache2", "/usr/sbin/apache2 -k start", 5),
            // Another Apache, which nobody reloaded.
            one(20, 1, "apache2", "/usr/sbin/apache2 -f /srv/httpd.conf", 99),
            one(21, 20, "apache2", "/usr/sbin/apache2 -f /srv/httpd.conf", 99),
        ];
        assert_eq!(count(Kind::Apache, &all, Some(Duration::from_secs(10))), 1);
        assert_eq!(count(Kind::Apache, &all, Some(Duration::from_secs(60))), 0);
        assert_eq!(count(Kind::Apache, &all, None), 0, "no reload of ours");
    }

    #[test]
    fn a_process_is_read_whatever_its_name_and_the_dead_are_none() {
        let rest = "1 1 1 0 -1 4194560 9 0 0 0 0 0 0 0 20 0 1 0 5000 0 0";
        let up = Duration::from_secs(60);
        let read = process(7, &format!("7 (a) b) S {rest}"), b"x\0-y\0", up).unwrap();
        assert_eq!((read.parent, read.name.as_str()), (1, "a) b"));
        assert_eq!(
            (read.age, read.words),
            (Duration::from_secs(10), vec!["x".into(), "-y".into()])
        );
        assert!(process(7, &format!("7 (a) Z {rest}"), b"", up).is_none());
        for garbage in ["", "7", "7 (", "7 (a) S", "7 (a) S x"] {
            assert!(process(7, garbage, b"", up).is_none(), "{garbage:?}");
        }
    }

    #[test]
    fn this_process_is_among_those_of_this_machine() {
        let found = processes(Path::new("/proc"));
        let own = found.iter().find(|p| p.pid == std::process::id()).unwrap();
        assert!(own.age < Duration::from_secs(24 * 3600) && !own.words.is_empty(), "{own:?}");
    }
}
