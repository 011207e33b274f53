//! One integration binary: themed modules over a harness.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::print_stdout)]

mod docker_faults;
mod docker_real;
mod docker_source;
mod fake_engine;
mod real_engine;
