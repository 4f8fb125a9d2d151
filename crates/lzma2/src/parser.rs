//! The cheapest sequence of operations for the next positions, by prices.
//!
//! A node is a position, with the cheapest way to reach it. Nodes are visited in order; from each,
//! all operations that are possible are tried, and longer ones that often pay: a literal or a match,
//! then a literal if need be, and the last distance again. The search ends where a long match
//! begins, or where all ways meet.

use std::ops::RangeInclusive;

use crate::candidates::{Candidates, Found};
use crate::lengths::{LONGEST, PRICED, SHORTEST};
use crate::match_table::{MatchTable, common};
use crate::model::{Distances, Model, State, added, length_class, position_context, repeated};
use crate::source::{Operation, Source, SourceKind};

/// Number of positions after which the search ends at the latest.
const WINDOW: usize = 2048;

/// Price by which a position may be cheaper than the next one and is passed over still: a quarter of a
/// bit. Mostly both are reached by the same match then, and what begins here can as well begin at the
/// next one. Without a margin, blocks took 4 % more time and differed by 0.03 % in size; with half a bit
/// they were up to 0.05 % larger.
const MARGIN: u32 = 8;

/// Length from which a match is taken without comparison.
const ENOUGH: usize = PRICED;

/// A position, and the last step of the cheapest way to it.
#[derive(Debug, Clone, Copy)]
struct Node {
    price: u32,
    source: Source,
    /// Length of the operation.
    length: u16,
    /// Length of a repetition of the last distance behind the operation, if there is one. If the
    /// operation is not a literal, a literal stands between both.
    tail: u16,
    state: State,
    distances: Distances,
}

impl Node {
    const UNREACHED: Self = Self {
        price: u32::MAX,
        source: Source::LITERAL,
        length: 1,
        tail: 0,
        state: State::initial(),
        distances: [0; 4],
    };

    /// Enters a way to the node if it is the cheapest so far.
    #[inline]
    fn relax(&mut self, price: u32, source: Source, length: usize, tail: usize) {
        if price < self.price {
            self.price = price;
            self.source = source;
            [self.length, self.tail] =
                [length, tail].map(|length| u16::try_from(length).unwrap_or(0));
        }
    }

    /// Number of positions between the step's start and the node.
    #[inline]
    fn step(&self) -> usize {
        let between = usize::from(self.tail > 0 && self.source != Source::LITERAL);
        usize::from(self.length) + between + usize::from(self.tail)
    }
}

/// A step from a node.
#[derive(Debug, Clone, Copy)]
struct Step {
    source: Source,
    length: usize,
    /// Price of the way to the step's end.
    price: u32,
    /// State at the step's end.
    state: State,
    /// Distance of the step.
    distance: usize,
}

/// Parser of a block.
#[derive(Debug)]
pub(crate) struct Parser<'a> {
    data: &'a [u8],
    pub(crate) candidates: Candidates<'a>,
    /// The candidates of the node visited last.
    found: Found,
    nodes: Vec<Node>,
    /// End of the data to parse.
    limit: usize,
    /// The last node that is reached.
    end: usize,
    operations: Vec<Operation>,
}

impl<'a> Parser<'a> {
    pub(crate) fn new(data: &'a [u8], table: &'a MatchTable) -> Self {
        Self {
            data,
            candidates: Candidates::new(data, table),
            found: Found::default(),
            limit: data.len(),
            nodes: vec![Node::UNREACHED; WINDOW + 2 * ENOUGH + 2],
            end: 0,
            operations: Vec::new(),
        }
    }

    /// The operations found last.
    pub(crate) fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// Drops the operations found last.
    pub(crate) fn forget(&mut self) {
        self.operations.clear();
    }

    /// Finds operations for the data from a position on, at least one, and none past the end. Distances are the
    /// last ones that may be used.
    pub(crate) fn parse(&mut self, model: &Model, distances: Distances, begin: usize, end: usize) {
        self.limit = end;
        self.operations.clear();
        self.end = 0;
        self.nodes[0] = Node { price: 0, state: model.state, distances, ..Node::UNREACHED };
        for node in 0.. {
            let at = begin + node;
            if node > 0 {
                if node < WINDOW && self.is_passed_over(node) {
                    continue;
                }
                self.settle(node);
            }
            let is_end = at == self.limit || node >= WINDOW || node > 0 && node == self.end;
            let last = if is_end { None } else { self.visit(model, node, at) };
            if is_end || last.is_some() {
                self.trace(node);
                self.operations.extend(last);
                return;
            }
        }
    }

    /// True if the way to the next node is about as cheap.
    #[inline]
    fn is_passed_over(&self, node: usize) -> bool {
        node < self.end && self.nodes[node + 1].price <= self.nodes[node].price + MARGIN
    }

    /// Tries all operations at a node; returns one that ends the search.
    fn visit(&mut self, model: &Model, node: usize, at: usize) -> Option<Operation> {
        let rest = (self.limit - at).min(LONGEST);
        let limit = rest.min(ENOUGH);
        let found = self.candidates.find(at, limit);
        let Node { price, state, distances, .. } = self.nodes[node];
        let longest = found.as_slice().last();
        if let Some(longest) = longest.filter(|longest| longest.length as usize >= ENOUGH) {
            return Some(self.longest(at, rest, longest.distance, distances));
        }
        let position = position_context(at);
        let (_, choice) = model.choice_prices(state, position);
        let (new, old) = model.repetition_prices(state);
        let (new, old) = (price + choice + new, price + choice + old);
        self.single_bytes(model, node, at, old);
        if limit < SHORTEST {
            return None;
        }
        // Behind a literal, matches that could have begun before it are dearer; behind another operation,
        // its distance would prolong that operation, which was tried where it begins.
        let is_behind_literal = node > 0 && state.is_after_literal();
        let is_behind_copy = node > 0 && !state.is_after_literal();
        let earlier = std::mem::replace(&mut self.found, found);
        let mut begin = SHORTEST;
        let two = self.data[at..].first_chunk::<2>();
        for (number, distance) in distances.into_iter().enumerate() {
            let distance = distance as usize + 1;
            if distance > at || self.data[at - distance..].first_chunk::<2>() != two {
                continue;
            }
            let source = Source::repetition(number);
            let length = common(self.data, at, at - distance, SHORTEST, limit);
            if length >= ENOUGH {
                let length = common(self.data, at, at - distance, length, rest);
                return Some(Operation::new(source, length));
            }
            if number == 0 && is_behind_copy {
                begin = length + 1;
                continue;
            }
            self.reach(node + length);
            let price = old + model.repeated_price(number, state, position);
            let prices = model.repetition_lengths.prices(position);
            self.relax_all(node, SHORTEST..=length, source, price, prices);
            if number == 0 {
                // A new distance doesn't beat the last one.
                begin = length + 1;
            }
            let (price, state) = (price + prices[length], state.after_repetition());
            self.tail(model, node, at, &Step { source, length, price, state, distance });
        }
        let prices = model.match_lengths.prices(position);
        for candidate in found.as_slice() {
            let (longest, distance) = (candidate.length as usize, candidate.distance);
            if longest < begin || is_behind_literal && earlier.has(distance) {
                continue;
            }
            self.reach(node + longest);
            let source = Source::distance(distance);
            let far = new + model.distance_price(distance, length_class(usize::MAX));
            for length in begin..=longest.min(4) {
                let price = new + model.distance_price(distance, length_class(length));
                self.relax_all(node, length..=length, source, price, prices);
            }
            self.relax_all(node, begin.max(5)..=longest, source, far, prices);
            let price =
                new + model.distance_price(distance, length_class(longest)) + prices[longest];
            begin = longest + 1;
            let (length, state, distance) = (longest, state.after_match(), distance as usize + 1);
            self.tail(model, node, at, &Step { source, length, price, state, distance });
        }
        None
    }

    /// The operation for a match of at least [`ENOUGH`] bytes: an old distance if it is as good.
    fn longest(&self, at: usize, rest: usize, distance: u32, distances: Distances) -> Operation {
        let length_at = |distance: u32| {
            let begin = at.checked_sub(distance as usize + 1);
            begin.map_or(0, |begin| common(self.data, at, begin, 0, rest))
        };
        let length = length_at(distance);
        for (number, distance) in distances.into_iter().enumerate() {
            let repeated = length_at(distance);
            if repeated + 1 >= length {
                return Operation::new(Source::repetition(number), repeated);
            }
        }
        Operation::new(Source::distance(distance), length)
    }

    /// Tries a literal, one byte of the last distance, and a literal with the last distance behind.
    /// `old` is the price of the way to the choice of an old distance.
    #[inline]
    fn single_bytes(&mut self, model: &Model, node: usize, at: usize, old: u32) {
        let Node { price, state, distances, .. } = self.nodes[node];
        let position = position_context(at);
        let byte = self.data[at];
        let before = at.checked_sub(1).map_or(0, |before| self.data[before]);
        let distance = distances[0] as usize + 1;
        let matched = at.checked_sub(distance).map(|other| self.data[other]);
        let (choice, _) = model.choice_prices(state, position);
        let context = if state.is_after_literal() { None } else { matched };
        let literal = price + choice + model.literal_price(before, byte, context);
        self.reach(node + 1);
        let is_better = literal < self.nodes[node + 1].price;
        self.relax(node + 1, literal, Source::LITERAL, 1, 0);
        if matched == Some(byte) {
            let single = old + model.single_price(state, position);
            // If both cost the same, the repetition keeps the literals' probabilities.
            self.relax(node + 1, single.saturating_sub(1), Source::repetition(0), 1, 0);
            return;
        }
        let next = at + 1;
        if !is_better || matched.is_none() || self.limit - next < SHORTEST {
            return;
        }
        let limit = (self.limit - next).min(ENOUGH);
        let length = common(self.data, next, next - distance, 0, limit);
        if length >= SHORTEST {
            let price = literal + last_distance_price(model, state.after_literal(), next, length);
            self.reach(node + 1 + length);
            self.relax(node + 1 + length, price, Source::LITERAL, 1, length);
        }
    }

    /// Tries a literal behind a step, and the step's distance behind the literal.
    #[inline]
    fn tail(&mut self, model: &Model, node: usize, at: usize, step: &Step) {
        let literal = at + step.length;
        let next = literal + 1;
        let limit = self.limit.saturating_sub(next).min(ENOUGH);
        if limit < SHORTEST {
            return;
        }
        let length = common(self.data, next, next - step.distance, 0, limit);
        if length < SHORTEST {
            return;
        }
        let (choice, _) = model.choice_prices(step.state, position_context(literal));
        let (before, byte) = (self.data[literal - 1], self.data[literal]);
        let matched = Some(self.data[literal - step.distance]);
        let price = step.price
            + choice
            + model.literal_price(before, byte, matched)
            + last_distance_price(model, step.state.after_literal(), next, length);
        let to = node + step.length + 1 + length;
        self.reach(to);
        self.relax(to, price, step.source, step.length, length);
    }

    /// Prepares all nodes up to one.
    #[inline]
    fn reach(&mut self, node: usize) {
        while self.end < node {
            self.end += 1;
            self.nodes[self.end].price = u32::MAX;
        }
    }

    /// Enters a way to a node if it is the cheapest so far.
    #[inline]
    fn relax(&mut self, node: usize, price: u32, source: Source, length: usize, tail: usize) {
        self.nodes[node].relax(price, source, length, tail);
    }

    /// Enters ways of several lengths from a node, by the price of their source and of each length.
    #[inline]
    fn relax_all(
        &mut self,
        node: usize,
        lengths: RangeInclusive<usize>,
        source: Source,
        price: u32,
        prices: &[u32; PRICED + 1],
    ) {
        let (first, last) = lengths.into_inner();
        let Some(prices) = prices.get(first..=last) else { return };
        let nodes = &mut self.nodes[node + first..=node + last];
        for ((node, more), length) in nodes.iter_mut().zip(prices).zip(first..) {
            node.relax(price + more, source, length, 0);
        }
    }

    /// Derives a node's state and distances from its last step.
    #[inline]
    fn settle(&mut self, node: usize) {
        let Node { source, length, tail, .. } = self.nodes[node];
        let start = node - self.nodes[node].step();
        let Node { mut state, mut distances, .. } = self.nodes[start];
        match source.kind() {
            SourceKind::Literal => state = state.after_literal(),
            SourceKind::Distance(distance) => {
                distances = added(distances, distance);
                state = state.after_match();
            }
            SourceKind::Repetition(number) => {
                distances = repeated(distances, number);
                let is_single = usize::from(length) < SHORTEST;
                state = if is_single { state.after_single() } else { state.after_repetition() };
            }
        }
        if tail > 0 {
            // The literal before is either the operation itself or follows it.
            if source != Source::LITERAL {
                state = state.after_literal();
            }
            state = state.after_repetition();
        }
        let node = &mut self.nodes[node];
        (node.state, node.distances) = (state, distances);
    }

    /// Writes down the operations on the way to a node.
    fn trace(&mut self, mut at: usize) {
        while at > 0 {
            let node = self.nodes[at];
            if node.tail > 0 {
                let last = Source::repetition(0);
                self.operations.push(Operation::new(last, usize::from(node.tail)));
                if node.source != Source::LITERAL {
                    self.operations.push(Operation::LITERAL);
                }
            }
            self.operations.push(Operation::new(node.source, usize::from(node.length)));
            at -= node.step();
        }
        self.operations.reverse();
    }
}

/// Price of repeating the last distance.
#[inline]
fn last_distance_price(model: &Model, state: State, at: usize, length: usize) -> u32 {
    let position = position_context(at);
    let (_, choice) = model.choice_prices(state, position);
    let (_, old) = model.repetition_prices(state);
    choice
        + old
        + model.repeated_price(0, state, position)
        + model.repetition_lengths.price(length, position)
}
