//! The event loop of a command: one thread, which nobody waits for at the end.

use std::future::Future;

use crate::error::Failure;

pub(crate) fn run<T>(command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::Runtime)?;
    let result = runtime.block_on(command);
    // A look-up of a name may still be on its way.
    runtime.shutdown_background();
    result
}
