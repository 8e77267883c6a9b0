//! The node program of nsdebug.
