//! Files that are never half there, never followed out of their place, never writable by others.
