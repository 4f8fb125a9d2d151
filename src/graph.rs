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
        // Checked when a node is taken out: it may be queued several times, and is expanded once.
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
            // A set: a neighbour that is named twice would be waited for twice, and be done only
            // once.
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
            // None is shorter than a node that needs itself.
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

/// The groups of several nodes that all reach one another, and single nodes that need themselves: each group that
/// has a cycle, once. Tarjan's algorithm, without recursion.
pub fn cyclic_groups<N: Ord + Clone>(
    nodes: &BTreeSet<N>,
    mut neighbours: impl FnMut(&N) -> Vec<N>,
) -> Vec<BTreeSet<N>> {
    let places: BTreeMap<&N, usize> =
        nodes.iter().enumerate().map(|(at, node)| (node, at)).collect();
    let names: Vec<&N> = nodes.iter().collect();
    let needs: Vec<Vec<usize>> = names
        .iter()
        .map(|node| {
            neighbours(node).iter().filter_map(|other| places.get(other).copied()).collect()
        })
        .collect();
    let unseen = usize::MAX;
    let (mut index, mut low) = (vec![unseen; names.len()], vec![0; names.len()]);
    let (mut stack, mut on_stack) = (Vec::new(), vec![false; names.len()]);
    let (mut next, mut groups) = (0, Vec::new());
    for start in 0..names.len() {
        let mut work = vec![(start, 0)];
        while let Some((node, edge)) = work.pop() {
            if edge == 0 {
                if index[node] != unseen {
                    continue;
                }
                (index[node], low[node]) = (next, next);
                next += 1;
                stack.push(node);
                on_stack[node] = true;
            } else if let Some(&child) = needs[node].get(edge - 1) {
                // Back from the child: this stands for what follows the call in the recursive form.
                low[node] = low[node].min(low[child]);
            }
            // The next neighbour that is not yet done with.
            let open = (edge..needs[node].len()).find(|&edge| {
                let other = needs[node][edge];
                if index[other] != unseen && on_stack[other] {
                    low[node] = low[node].min(index[other]);
                }
                index[other] == unseen
            });
            if let Some(edge) = open {
                work.push((node, edge + 1));
                work.push((needs[node][edge], 0));
                continue;
            }
            if low[node] == index[node] {
                let mut group = BTreeSet::new();
                while let Some(member) = stack.pop() {
                    on_stack[member] = false;
                    group.insert(names[member].clone());
                    if member == node {
                        break;
                    }
                }
                if group.len() > 1 || needs[node].contains(&node) {
                    groups.push(group);
                }
            }
        }
    }
    groups
}

/// Chains from one node to another, the shortest first, at most so many: `[from, …, to]`. No chain has a node
/// twice.
pub fn chains<N: Ord + Clone>(
    from: &N,
    to: &N,
    most: usize,
    mut neighbours: impl FnMut(&N) -> Vec<N>,
) -> Vec<Vec<N>> {
    let reached = closure([from.clone()], &mut neighbours);
    let mut users: BTreeMap<N, Vec<N>> = BTreeMap::new();
    for node in &reached {
        for next in neighbours(node) {
            users.entry(next).or_default().push(node.clone());
        }
    }
    // Edges from each node to the end, for the order in which chains are found.
    let mut distances: BTreeMap<N, usize> = BTreeMap::from([(to.clone(), 0)]);
    let mut queue = VecDeque::from([to.clone()]);
    while let Some(node) = queue.pop_front() {
        let distance = distances[&node] + 1;
        for user in users.get(&node).into_iter().flatten() {
            if !distances.contains_key(user) {
                distances.insert(user.clone(), distance);
                queue.push_back(user.clone());
            }
        }
    }
    let mut found = Vec::new();
    let Some(distance) = distances.get(from) else { return found };
    let mut open = BTreeSet::from([(*distance, vec![from.clone()])]);
    while let Some((length, chain)) = open.pop_first() {
        let Some(last) = chain.last() else { continue };
        if last == to {
            found.push(chain);
            if found.len() == most {
                break;
            }
            continue;
        }
        for next in neighbours(last) {
            let Some(distance) = distances.get(&next).filter(|_| !chain.contains(&next)) else {
                continue;
            };
            // The length so far and what is left at least, so that the shortest chain is taken out
            // first (A*).
            let length = length + 1 + distance - distances[last];
            open.insert((length, [chain.as_slice(), &[next]].concat()));
        }
    }
    found
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
    fn each_group_with_a_cycle_is_found_once() {
        let edges: Edges<'_> = &[
            ("a", &["b"]),
            ("b", &["c", "x"]),
            ("c", &["a"]),
            ("d", &["a", "e"]),
            ("e", &["d", "e"]),
            ("p", &["p"]),
            ("x", &["y"]),
            ("y", &[]),
        ];
        let mut groups = cyclic_groups(&all(edges), needs(edges));
        groups.sort();
        let wanted = [&["a", "b", "c"][..], &["d", "e"], &["p"]];
        assert_eq!(groups, wanted.map(|group| group.iter().copied().collect::<BTreeSet<_>>()));
        let long: BTreeSet<u32> = (0..100_000).collect();
        let groups = cyclic_groups(&long, |node| vec![(node + 1) % 100_000]);
        assert_eq!((groups.len(), groups[0].len()), (1, 100_000));
    }

    #[test]
    fn chains_are_found_shortest_first() {
        let edges: Edges<'_> = &[
            ("a", &["b", "c", "z"]),
            ("b", &["d"]),
            ("c", &["b", "d"]),
            ("d", &["a"]),
            ("z", &[]),
        ];
        let found = chains(&"a", &"d", 10, needs(edges));
        assert_eq!(found, [vec!["a", "b", "d"], vec!["a", "c", "d"], vec!["a", "c", "b", "d"]]);
        assert_eq!(chains(&"a", &"d", 1, needs(edges)).len(), 1);
        assert!(chains(&"z", &"a", 10, needs(edges)).is_empty());
        // Every pair of layers multiplies the number of chains.
        let many = chains(&0_u32, &60, 5, |node| match node {
            60.. => Vec::new(),
            node if node % 3 == 0 => vec![node + 1, node + 2],
            node => vec![node / 3 * 3 + 3],
        });
        assert_eq!(many.len(), 5);
    }

    #[test]
    fn a_long_chain_needs_no_stack() {
        let nodes: BTreeSet<u32> = (0..100_000).collect();
        let order = topological_order(&nodes, |node| node.checked_sub(1).into_iter().collect());
        assert_eq!(order.unwrap().len(), 100_000);
    }
}
