//! Samples of containers, in one of three modes: direct, stream or Podman.

#[cfg(test)]
mod case_tests;
pub(crate) mod direct;
mod interval;
mod latest_samples;
pub(crate) mod podman;
pub(crate) mod podman_sample;
#[cfg(test)]
mod pressure_tests;
pub(crate) mod probe;
pub(crate) mod readings;
pub(crate) mod sample;
mod stream_reader;
pub(crate) mod streams;
