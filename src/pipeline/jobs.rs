//! Jobs of a pipeline: packages, needs and levels.

use std::collections::BTreeSet;

use crate::tree::PackageKey;

/// Jobs with their order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pipeline {
    /// The jobs, level by level.
    pub jobs: Vec<PipelineJob>,
}

/// Job that builds packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineJob {
    /// Packages, each behind those that it requires.
    pub packages: Vec<PackageKey>,
    /// Places of the jobs that have to be done before, all of lower levels.
    pub needs: BTreeSet<usize>,
    /// Level: 0 without needs, else above the levels of all needed jobs.
    pub level: usize,
}

impl Pipeline {
    /// Makes a job of each package. `needs` has the places of the packages that each one waits for, all of them
    /// smaller than its own.
    pub fn of(packages: &[PackageKey], needs: &[BTreeSet<usize>]) -> Self {
        let mut levels: Vec<usize> = Vec::with_capacity(packages.len());
        for needed in needs {
            levels.push(needed.iter().map(|place| levels[*place] + 1).max().unwrap_or(0));
        }
        let mut order: Vec<usize> = (0..packages.len()).collect();
        // A stable sort: within a level, packages stay in their order, so the same graph has the
        // same text.
        order.sort_by_key(|place| levels[*place]);
        let mut places = vec![0; order.len()];
        for (new, old) in order.iter().enumerate() {
            places[*old] = new;
        }
        let job = |old: &usize| PipelineJob {
            packages: vec![packages[*old].clone()],
            needs: needs[*old].iter().map(|needed| places[*needed]).collect(),
            level: levels[*old],
        };
        Self { jobs: order.iter().map(job).collect() }
    }

    /// Number of packages.
    pub fn packages(&self) -> usize {
        self.jobs.iter().map(|job| job.packages.len()).sum()
    }

    /// Places of the jobs of each level, from the lowest.
    pub fn levels(&self) -> Vec<Vec<usize>> {
        let mut levels = vec![Vec::new(); self.jobs.last().map_or(0, |job| job.level + 1)];
        for (place, job) in self.jobs.iter().enumerate() {
            levels[job.level].push(place);
        }
        levels
    }

    /// Places of the jobs that no other one needs.
    pub fn ends(&self) -> impl Iterator<Item = usize> {
        let needed: BTreeSet<usize> =
            self.jobs.iter().flat_map(|job| job.needs.iter().copied()).collect();
        (0..self.jobs.len()).filter(move |place| !needed.contains(place))
    }

    /// The pipeline with at most so many jobs: jobs of a level are put together, no more than necessary. Where there are
    /// more levels than jobs, the smallest neighbours among the levels become one job.
    #[must_use]
    pub fn within(&self, most: usize) -> Self {
        let most = most.max(1);
        if self.jobs.len() <= most {
            return self.clone();
        }
        let bands = merged(self.levels(), most);
        let lengths = lengths(&bands, most);
        self.grouped(&bands, &lengths)
    }

    /// The pipeline with at most so many levels, and at most so many jobs in each of them.
    #[must_use]
    pub fn in_waves(&self, levels: usize, most: usize) -> Self {
        let bands = merged(self.levels(), levels.max(1));
        let length = |band: &Band| band.jobs.len().div_ceil(most.max(1)).max(1);
        self.grouped(&bands, &bands.iter().map(length).collect::<Vec<_>>())
    }

    /// The pipeline with a level for each band, in which so many jobs become one.
    fn grouped(&self, bands: &[Band], lengths: &[usize]) -> Self {
        let mut places = vec![0; self.jobs.len()];
        let mut groups: Vec<(usize, &[usize])> = Vec::new();
        for (level, (band, length)) in bands.iter().zip(lengths).enumerate() {
            for part in band.parts(*length) {
                for job in part {
                    places[*job] = groups.len();
                }
                groups.push((level, part));
            }
        }
        let job = |(own, (level, part)): (usize, &(usize, &[usize]))| PipelineJob {
            packages: part
                .iter()
                .flat_map(|job| self.jobs[*job].packages.iter().cloned())
                .collect(),
            needs: part
                .iter()
                .flat_map(|job| self.jobs[*job].needs.iter().map(|needed| places[*needed]))
                // Jobs that were put together may have needed one another; a job builds its
                // packages in their order.
                .filter(|needed| *needed != own)
                .collect(),
            level: *level,
        };
        Self { jobs: groups.iter().enumerate().map(job).collect() }
    }
}

/// Neighbouring levels.
#[derive(Debug)]
struct Band {
    jobs: Vec<usize>,
    /// True if the jobs may need each other, so that they cannot be divided.
    is_whole: bool,
}

impl Band {
    /// Parts of at most so many jobs.
    fn parts(&self, length: usize) -> Vec<&[usize]> {
        // Jobs of merged levels need one another, and so cannot be parted.
        if self.is_whole { vec![&self.jobs] } else { self.jobs.chunks(length).collect() }
    }
}

/// At most so many bands of levels.
fn merged(levels: Vec<Vec<usize>>, most: usize) -> Vec<Band> {
    let mut bands: Vec<Band> =
        levels.into_iter().map(|jobs| Band { jobs, is_whole: false }).collect();
    while bands.len() > most {
        let sizes = bands.windows(2).map(|two| two[0].jobs.len() + two[1].jobs.len());
        let Some((first, _)) = sizes.enumerate().min_by_key(|(_, size)| *size) else { break };
        let second = bands.remove(first + 1);
        bands[first].jobs.extend(second.jobs);
        bands[first].is_whole = true;
    }
    bands
}

/// Numbers of jobs that become one, for each band: about equal, so that there are at most so many parts in all.
fn lengths(bands: &[Band], most: usize) -> Vec<usize> {
    let longest = bands.iter().map(|band| band.jobs.len()).max().unwrap_or(1);
    let count = |length: usize| bands.iter().map(|band| band.parts(length).len()).sum::<usize>();
    // From the shortest on, so that as much as possible is built at once.
    let length = (2..longest).find(|length| count(*length) <= most).unwrap_or(longest.max(1));
    let mut lengths = vec![length; bands.len()];
    let mut spare = most.saturating_sub(count(length));
    let mut order: Vec<usize> = (0..bands.len()).collect();
    // What is left over goes to the largest bands first, which gain most.
    order.sort_by_key(|place| std::cmp::Reverse(bands[*place].jobs.len()));
    for place in order {
        let shorter = length.saturating_sub(1).max(1);
        let more = bands[place].parts(shorter).len() - bands[place].parts(length).len();
        if more <= spare {
            spare -= more;
            lengths[place] = shorter;
        }
    }
    lengths
}
