//! The machine's cores, shared out so that builds together get no more than there are.

/// Way a build gets its cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    /// A fixed number of cores, announced at the start.
    Fixed,
    /// One core, and further ones from the jobserver on demand.
    Shared,
}

/// Cores of a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    demand: Demand,
    /// Number announced to the build.
    pub told: usize,
    /// Number of reserved cores: no other build uses them meanwhile.
    pub own: usize,
}

impl Share {
    /// True if the build shares cores with others.
    pub fn is_shared(&self) -> bool {
        self.demand == Demand::Shared
    }
}

/// The machine's cores. More jobs than cores are a wish for just that: then builds share cores, none
/// being told of more than there are.
#[derive(Debug, Clone)]
pub struct Cores {
    machine: usize,
    free: usize,
    /// Number of running builds with shared cores.
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

    /// Takes a share of the free cores for a build, if `others` more could start now with the same
    /// demand. Builds with shared cores use free cores, so each of them counts, too.
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
