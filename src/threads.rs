//! Every thread has a name and a body that outlives a panic.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{Builder, JoinHandle};

/// Spawns a thread whose panic is logged and ends it alone.
pub(crate) fn spawn(
    name: impl Into<String>,
    body: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    spawn_with_stack(name, None, body)
}

/// The same with a stack of `stack` bytes: what a thread does not touch costs nothing, but ten
/// thousand default stacks of 2 MiB can exceed what the kernel lets a process map.
pub(crate) fn spawn_with_stack(
    name: impl Into<String>,
    stack: Option<usize>,
    body: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let name = name.into();
    let mut builder = Builder::new().name(name.clone());
    if let Some(stack) = stack {
        builder = builder.stack_size(stack);
    }
    builder.spawn(move || {
        guarded(&name, body);
    })
}

/// Runs `body`; a panic is logged under `name` and told as `None`.
pub(crate) fn guarded<T>(name: &str, body: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(body))
        .map_err(|panic| log::error!("{name} panicked: {}", words(&*panic)))
        .ok()
}

fn words(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}
