//! Directed graphs, by a function that gives a node's neighbours: order, closure, shortest cycle.
//!
//! Functions are generic over the type of nodes. The neighbours of a node are its dependencies; all
//! functions are iterative, so a chain of any length is fine, and deterministic.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Returns all nodes reachable from the roots, including the roots.
pub fn closure<N: Ord + Clone>(
    roots: impl IntoIterator<Item = N>,
    mut neighbours: impl FnMut(&N) -> Vec<N>,
) -> BTreeSet<N> {
    let mut seen = BTreeSet::new();
    let mut queue: Vec<N> = roots.into_iter().collect();
    while let Some(node) = queue.pop() {
        if !seen.contains(&node) {
            queue.extend(neighbours(&node));
            seen.insert(node);
        }
    }
    seen
}

/// Sorts the nodes in dependency order; ties in the nodes' order. Fails with a shortest cycle, if
/// any: `[a, b]` for `a -> b -> a`.
pub fn topological_order<N: Ord + Clone>(
    nodes: &BTreeSet<N>,
    mut neighbours: impl FnMut(&N) -> Vec<N>,
) -> Result<Vec<N>, Vec<N>> {
    let needs: BTreeMap<N, BTreeSet<N>> = nodes
        .iter()
        .map(|node| {
            let inside = neighbours(node).into_iter().filter(|other| nodes.contains(other));
            (node.clone(), inside.collect())
        })
        .collect();
    let mut needed_by: BTreeMap<&N, Vec<&N>> = BTreeMap::new();
    let mut open: BTreeMap<&N, usize> = BTreeMap::new();
    for (node, needed) in &needs {
        open.insert(node, needed.len());
        for other in needed {
            needed_by.entry(other).or_default().push(node);
        }
    }
    let mut ready: BTreeSet<&N> =
        open.iter().filter(|(_, count)| **count == 0).map(|(node, _)| *node).collect();
    let mut order = Vec::with_capacity(nodes.len());
    while let Some(node) = ready.pop_first() {
        order.push(node.clone());
        for user in needed_by.remove(node).unwrap_or_default() {
            if let Some(count) = open.get_mut(user) {
                *count -= 1;
                if *count == 0 {
                    ready.insert(user);
                }
            }
        }
    }
    if order.len() == nodes.len() {
        return Ok(order);
    }
    let done: BTreeSet<&N> = order.iter().collect();
    let rest: BTreeSet<N> = nodes.iter().filter(|node| !done.contains(node)).cloned().collect();
    Err(shortest_cycle(&rest, |node| needs.get(node).into_iter().flatten().cloned().collect())
        .unwrap_or_default())
}

/// A shortest cycle among the nodes, beginning with its smallest node.
pub fn shortest_cycle<N: Ord + Clone>(
    nodes: &BTreeSet<N>,
    mut neighbours: impl FnMut(&N) -> Vec<N>,
) -> Option<Vec<N>> {
    let mut best: Option<Vec<N>> = None;
    for start in nodes {
        if let Some(path) = shortest_path_back(start, nodes, &mut neighbours)
            && best.as_ref().is_none_or(|known| path.len() < known.len())
        {
            let done = path.len() == 1;
            best = Some(path);
            if done {
                break;
            }
        }
    }
    best
}

fn shortest_path_back<N: Ord + Clone>(
    start: &N,
    nodes: &BTreeSet<N>,
    neighbours: &mut impl FnMut(&N) -> Vec<N>,
) -> Option<Vec<N>> {
    let mut parent: BTreeMap<N, N> = BTreeMap::new();
    let mut queue = VecDeque::from([start.clone()]);
    while let Some(node) = queue.pop_front() {
        for next in neighbours(&node) {
            if next == *start {
                let mut path = vec![node.clone()];
                while let Some(before) = path.last().and_then(|last| parent.get(last)) {
                    path.push(before.clone());
                }
                path.reverse();
                return Some(path);
            }
            if nodes.contains(&next) && !parent.contains_key(&next) {
                parent.insert(next.clone(), node.clone());
                queue.push_back(next);
            }
        }
    }
    None
}

/// A shortest chain from one node to another: `[from, …, to]`.
pub fn shortest_chain<N: Ord + Clone>(
    from: &N,
    to: &N,
    mut neighbours: impl FnMut(&N) -> Vec<N>,
) -> Option<Vec<N>> {
    let mut parent: BTreeMap<N, Option<N>> = BTreeMap::from([(from.clone(), None)]);
    let mut queue = VecDeque::from([from.clone()]);
    while let Some(node) = queue.pop_front() {
        if node == *to {
            let mut chain = vec![node];
            while let Some(Some(before)) = chain.last().and_then(|last| parent.get(last)) {
                chain.push(before.clone());
            }
            chain.reverse();
            return Some(chain);
        }
        for next in neighbours(&node) {
            if !parent.contains_key(&next) {
                parent.insert(next.clone(), Some(node.clone()));
                queue.push_back(next);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    type Edges<'a> = &'a [(&'a str, &'a [&'a str])];

    fn needs<'a>(edges: Edges<'a>) -> impl FnMut(&&'a str) -> Vec<&'a str> {
        move |node| {
            let found = edges.iter().find(|(name, _)| name == node);
            found.map(|(_, needed)| needed.to_vec()).unwrap_or_default()
        }
    }

    fn all(edges: Edges<'_>) -> BTreeSet<&str> {
        edges.iter().map(|(name, _)| *name).collect()
    }

    #[test]
    fn what_is_needed_comes_first() {
        let edges: Edges<'_> = &[("a", &["c"]), ("b", &[]), ("c", &["d"]), ("d", &[])];
        assert_eq!(topological_order(&all(edges), needs(edges)), Ok(vec!["b", "d", "c", "a"]));
        assert_eq!(closure(["c"], needs(edges)), BTreeSet::from(["c", "d"]));
        assert_eq!(shortest_chain(&"a", &"d", needs(edges)), Some(vec!["a", "c", "d"]));
        assert_eq!(shortest_chain(&"d", &"a", needs(edges)), None);
    }

    #[test]
    fn a_cycle_is_shown_whole_and_a_shortest_one() {
        let edges: Edges<'_> =
            &[("a", &["b"]), ("b", &["c"]), ("c", &["a", "d"]), ("d", &["c"]), ("x", &["a"])];
        assert_eq!(topological_order(&all(edges), needs(edges)), Err(vec!["c", "d"]));
        let own: Edges<'_> = &[("p", &["p"])];
        assert_eq!(topological_order(&all(own), needs(own)), Err(vec!["p"]));
    }

    #[test]
    fn a_long_chain_needs_no_stack() {
        let nodes: BTreeSet<u32> = (0..100_000).collect();
        let order = topological_order(&nodes, |node| node.checked_sub(1).into_iter().collect());
        assert_eq!(order.unwrap().len(), 100_000);
    }
}
