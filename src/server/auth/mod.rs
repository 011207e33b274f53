//! Who may come in: the token and the checks of every request.

pub(crate) mod gate;
pub(crate) mod lock;
pub(crate) mod token;
