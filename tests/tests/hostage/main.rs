//! Tools that sleep in the kernel with a lock that their agent might want, and tools that say what is not so: only
//! their own session is held up, and it is over when its processes are.

mod relays;
mod scarce;
mod site;
mod starts;
