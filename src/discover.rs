//! What is installed here, and in which version: from the package manager, or from the program
//! itself where it came in no package.

mod debian;
mod product;
mod rpm;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;

use crate::config::ServiceSpec;
use crate::hook;
use crate::state::software::{Installed, Order, Updates};

use self::debian::Package;
use self::product::{OPENSSL, Product};

/// How long a program may take to say its version, and a package manager to answer.
const LIMIT: Duration = Duration::from_secs(2);

/// This system and its packages, read once.
#[derive(Clone, Debug)]
pub struct System {
    /// Names of this distribution, the most precise first: `debian-12`, `debian`.
    pub release: Vec<String>,
    manager: Manager,
}

#[derive(Clone, Debug)]
enum Manager {
    Dpkg(Vec<Package>),
    Rpm,
    /// None that is known, and why.
    None(String),
}

impl System {
    /// Reads what the system says of itself. `root` is `/`, but in tests. Takes a few milliseconds
    /// of disk and processor: not for the loop's own thread.
    pub fn read(root: &Path) -> Self {
        let text = std::fs::read_to_string(root.join("etc/os-release"))
            .or_else(|_| std::fs::read_to_string(root.join("usr/lib/os-release")));
        let manager = match debian::packages(root) {
            Ok(Some(packages)) => Manager::Dpkg(packages),
            Err(reason) => Manager::None(reason),
            Ok(None) if rpm::is_there(root) => Manager::Rpm,
            Ok(None) => Manager::None("there is neither dpkg nor rpm here".to_owned()),
        };
        let like = matches!(manager, Manager::Rpm);
        Self { release: release(&text.unwrap_or_default(), like), manager }
    }

    /// pbxcert itself, OpenSSL, the products of the services, and `more` by the name of the product
    /// or its package. What a configured service is made of is named even when nobody knows its version;
    /// of the rest only what is installed.
    pub async fn installed(
        &self,
        root: &Path,
        services: &[ServiceSpec],
        more: &BTreeSet<String>,
    ) -> Vec<Installed> {
        let mut found = vec![ourselves()];
        let mut wanted: Vec<(&Product, Option<&ServiceSpec>)> =
            services.iter().flat_map(parts).chain([(&OPENSSL, None)]).collect();
        for product in more.iter().filter_map(|name| product::named(name)) {
            if !wanted.iter().any(|(other, _)| other.name == product.name) {
                wanted.push((product, None));
            }
        }
        let names = wanted.iter().flat_map(|(product, _)| product.packages).copied();
        let named: BTreeSet<&str> =
            names.chain(more.iter().map(String::as_str)).filter(|name| is_name(name)).collect();
        let packages = self.versions(root, &named).await;
        let each = wanted
            .iter()
            .map(|(product, service)| one(root, product, *service, packages.as_deref()));
        found.extend(join_all(each).await.into_iter().flatten());
        let known: BTreeSet<String> = found.iter().map(|f| f.product.clone()).collect();
        for package in packages.iter().flatten() {
            if more.contains(&package.name) && !known.contains(&package.name) {
                found.push(package.as_product(&package.name));
            }
        }
        found.sort_by(|a, b| (&a.product, &a.package).cmp(&(&b.product, &b.package)));
        found.dedup_by(|a, b| (&a.product, &a.version) == (&b.product, &b.version));
        found
    }

    /// Security updates that wait by the package index that is here; nobody is asked.
    pub async fn updates(&self, root: &Path) -> Updates {
        match &self.manager {
            Manager::None(reason) => Updates::Unknown(reason.clone()),
            Manager::Rpm => rpm::updates(root, LIMIT).await,
            Manager::Dpkg(packages) => {
                let (root, packages) = (root.to_owned(), packages.clone());
                let read = tokio::task::spawn_blocking(move || debian::updates(&root, &packages));
                read.await.unwrap_or_else(|error| Updates::Unknown(error.to_string()))
            }
        }
    }

    /// Those of the named packages that are installed; `None` when the package manager is silent.
    async fn versions(&self, root: &Path, names: &BTreeSet<&str>) -> Option<Vec<Version>> {
        match &self.manager {
            Manager::None(_) => None,
            Manager::Rpm => rpm::versions(root, names, LIMIT).await,
            Manager::Dpkg(packages) => Some(
                packages
                    .iter()
                    .filter(|package| names.contains(package.name.as_str()))
                    .map(|package| Version {
                        name: package.name.clone(),
                        version: package.version.clone(),
                        order: Order::Deb,
                    })
                    .collect(),
            ),
        }
    }
}

/// A package that is installed.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Version {
    name: String,
    version: String,
    order: Order,
}

impl Version {
    fn as_product(&self, product: &str) -> Installed {
        let source = if self.order == Order::Deb { "dpkg" } else { "rpm" };
        Installed {
            product: product.to_owned(),
            package: Some(self.name.clone()),
            version: Ok(self.version.clone()),
            order: self.order,
            source: source.to_owned(),
        }
    }
}

/// This program.
fn ourselves() -> Installed {
    Installed {
        product: "pbxcert".to_owned(),
        package: None,
        version: Ok(env!("CARGO_PKG_VERSION").to_owned()),
        order: Order::Upstream,
        source: "this program".to_owned(),
    }
}

/// What a service is made of.
fn parts(service: &ServiceSpec) -> Vec<(&'static Product, Option<&ServiceSpec>)> {
    product::of(service.kind).iter().map(|product| (*product, Some(service))).collect()
}

async fn one(
    root: &Path,
    product: &Product,
    service: Option<&ServiceSpec>,
    packages: Option<&[Version]>,
) -> Vec<Installed> {
    // Packages of this host say nothing of what runs in a container.
    let prefix = service.map(|service| service.exec_prefix.as_slice()).unwrap_or_default();
    if prefix.is_empty() {
        let ours = packages.unwrap_or_default().iter();
        let ours = ours.filter(|package| product.packages.contains(&package.name.as_str()));
        let found: Vec<Installed> = ours.map(|p| p.as_product(product.name)).collect();
        if !found.is_empty() {
            return found;
        }
    }
    let asked = ask(root, product, prefix).await;
    // Nobody said that it has to be here.
    if service.is_none() && asked.is_err() {
        return Vec::new();
    }
    let (version, source) = match asked {
        Ok((version, source)) => (Ok(version), source),
        Err(reason) => (Err(reason), "nobody".to_owned()),
    };
    vec![Installed {
        product: product.name.to_owned(),
        package: None,
        version,
        order: Order::Upstream,
        source,
    }]
}

/// What the program says of itself, and which one it is.
async fn ask(
    root: &Path,
    product: &Product,
    prefix: &[String],
) -> Result<(String, String), String> {
    let Some((program, arguments)) = product.command.split_first() else {
        return Err("it is in no package, and no program tells".to_owned());
    };
    let place = |name: &str| {
        if name.starts_with('/') {
            return Some(root.join(name.trim_start_matches('/')));
        }
        FOLDERS.iter().map(|folder| root.join(folder).join(name)).find(|path| path.is_file())
    };
    let (first, rest) = match prefix.split_first() {
        Some((first, rest)) => (first.as_str(), [rest, &[(*program).to_owned()]].concat()),
        None => (*program, Vec::new()),
    };
    let path = place(first).ok_or_else(|| format!("there is no package and no program {first}"))?;
    let path = path.to_string_lossy().into_owned();
    let arguments = arguments.iter().map(|argument| (*argument).to_owned());
    let argv: Vec<String> = [path.clone()].into_iter().chain(rest).chain(arguments).collect();
    let output = hook::run(&argv, &[], LIMIT).await.map_err(|error| error.to_string())?;
    let version = product::version_in(&output.text);
    let version = version.ok_or_else(|| format!("{path} does not say its version"))?;
    let source = if prefix.is_empty() { path } else { argv.join(" ") };
    Ok((version, source))
}

/// Never an option, a path, or anything else that a package manager could take for more than a
/// name: names come from documents as well.
fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "+-._".contains(c))
}

/// Names of a distribution from its os-release(5). With `like`, also of those that it is made to
/// be compatible with: rebuilds of one RPM distribution share version numbers, Debian and Ubuntu
/// do not.
fn release(text: &str, like: bool) -> Vec<String> {
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or_default().trim().trim_matches(['"', '\'']).to_owned()
    };
    let (id, version, others) = (value("ID"), value("VERSION_ID"), value("ID_LIKE"));
    let major = version.split('.').next().unwrap_or_default();
    let others = others.split_whitespace().filter(|_| like);
    let mut names = Vec::new();
    for name in [id.as_str()].into_iter().chain(others).filter(|name| !name.is_empty()) {
        let precise = [&*version, major].map(|number| format!("{name}-{number}"));
        names.extend(precise.into_iter().filter(|name| !name.ends_with('-')));
        names.push(name.to_owned());
    }
    let mut seen = BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

/// Where programs lie.
const FOLDERS: [&str; 6] =
    ["usr/sbin", "usr/bin", "usr/local/sbin", "usr/local/bin", "opt/janus/bin", "sbin"];

#[cfg(test)]
mod tests;
