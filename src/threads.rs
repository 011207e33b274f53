//! Named threads that log panics.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{Builder, JoinHandle};

use crate::printable;

/// Spawns a thread. A panic is logged and ends only this thread.
pub(crate) fn spawn(
    name: impl Into<String>,
    body: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    spawn_with_stack(name, None, body)
}

/// Spawns a thread with a stack of `stack` bytes. Untouched stack costs no memory, but ten thousand
/// default stacks of 2 MiB can exceed the address space that the kernel grants a process.
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

/// Runs `body`. Returns `None` if it panics; the panic is logged with `name`.
pub(crate) fn guarded<T>(name: &str, body: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(body))
        .map_err(|panic| log::error!("{name} panicked: {}", printable(panic_message(&*panic))))
        .ok()
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
