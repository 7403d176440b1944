//! What is wrong with a configuration, with its place, in the operator's words.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

/// One thing that is wrong, or that looks wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// The file, as it was named.
    pub file: PathBuf,
    /// Line from 1; 0 when the file as a whole is meant.
    pub line: usize,
    /// Column from 1, in characters; 0 when the file as a whole is meant.
    pub column: usize,
    /// What is wrong, why, and the next step.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        match self.line {
            0 => write!(f, "{file}: {}", self.text),
            line => write!(f, "{file}:{line}:{}: {}", self.column, self.text),
        }
    }
}

/// Everything that is wrong with a configuration, in the order of files and lines.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Problems {
    /// At least one.
    pub list: Vec<Problem>,
    /// The hooks that the configuration names all the same: when the last accepted configuration
    /// takes over, it may run these and no others.
    pub hooks: BTreeSet<Vec<String>>,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.list.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
