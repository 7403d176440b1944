//! Decisions as pure values: nothing here touches disk, network, clock or randomness.

pub mod plan;
