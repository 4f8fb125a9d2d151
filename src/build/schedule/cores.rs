//! The machine's cores, shared out so that builds together get no more than there are.

/// How a build gets its cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    /// It is told once how many it has, and uses them or not.
    Fixed,
    /// It has one, and takes further ones from the jobserver while it needs them.
    Shared,
}

/// What a build has of the cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    demand: Demand,
    /// How many it is told of.
    pub told: usize,
    /// How many are its own: no other build gets them while it runs.
    pub own: usize,
}

/// The machine's cores. More jobs than cores are a wish for just that: then builds share cores, none
/// being told of more than there are.
#[derive(Debug, Clone)]
pub struct Cores {
    machine: usize,
    free: usize,
    /// How many builds run that share.
    sharing: usize,
}

impl Cores {
    /// Starts with all cores free.
    pub fn new(cores: usize, jobs: usize) -> Self {
        let cores = cores.max(1);
        Self { machine: cores, free: cores.max(jobs), sharing: 0 }
    }

    /// True if a build can start: if not, all cores are in use by others.
    pub fn are_free(&self) -> bool {
        self.free > 0
    }

    /// Takes a share of what is free for a build, if `others` more could start now and want as much.
    /// Builds that share use what is free, so each of them counts, too.
    pub fn take(&mut self, others: usize, demand: Demand) -> Share {
        let equal = (self.free + self.sharing) / (others + 1 + self.sharing);
        let told = equal.clamp(1, self.machine);
        let own = match demand {
            Demand::Fixed => told,
            Demand::Shared => 1,
        };
        self.free = self.free.saturating_sub(own);
        self.sharing += usize::from(demand == Demand::Shared);
        Share { demand, told, own }
    }

    /// Gives a share back.
    pub fn give_back(&mut self, share: Share) {
        self.free += share.own;
        self.sharing -= usize::from(share.demand == Demand::Shared);
    }
}
