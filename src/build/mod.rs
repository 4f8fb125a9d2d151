//! From a tree to packages: ids, the plan, its execution.
