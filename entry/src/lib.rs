//! Entering the namespaces of a container.
