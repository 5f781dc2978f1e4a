//! The work item: states, lease and fencing as consuming transitions that can refuse.
