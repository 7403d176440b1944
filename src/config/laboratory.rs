//! What becomes of a configuration in a copy that is there to try things out.

use super::alerts::AlertSpec;
use super::{Config, Source};

impl Config {
    /// For such a copy: nothing is ordered, nobody is told, and the site's name says so everywhere.
    /// Its files and its hash stay the original's.
    pub fn make_laboratory(&mut self) {
        for certificate in &mut self.certificates {
            certificate.source = Source::Manual;
            certificate.issuers.clear();
        }
        self.alerts = AlertSpec::default();
        if !self.site.ends_with(LABORATORY) {
            self.site.push_str(LABORATORY);
        }
    }
}

/// Behind the name of the site.
const LABORATORY: &str = " [laboratory]";
