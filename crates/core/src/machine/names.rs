//! Small numbers for names that many rows share.
//!
//! Owns: one entry per name in use, with what is kept for it. Never keeps an entry that no row uses:
//! the number of lanes and sessions in memory does not grow with history.

use std::collections::BTreeMap;

/// Entries by name and by number. Numbers are reused; which one a name gets depends on nothing but
/// the order of the calls, so a replay gives the same numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Names<K, V> {
    index: BTreeMap<K, u32>,
    slots: Vec<Option<(K, V)>>,
    free: Vec<u32>,
}

impl<K: Ord + Clone, V> Names<K, V> {
    pub(super) const fn new() -> Self {
        Self { index: BTreeMap::new(), slots: Vec::new(), free: Vec::new() }
    }

    /// The number of `name`, made with `value` if it is new.
    pub(super) fn intern(&mut self, name: &K, value: impl FnOnce() -> V) -> u32 {
        if let Some(at) = self.index.get(name) {
            return *at;
        }
        let slot = Some((name.clone(), value()));
        let at = if let Some(at) = self.free.pop() {
            self.slots[at as usize] = slot;
            at
        } else {
            self.slots.push(slot);
            u32::try_from(self.slots.len() - 1).expect("at most one name per queued task")
        };
        self.index.insert(name.clone(), at);
        at
    }

    pub(super) fn find(&self, name: &K) -> Option<u32> {
        self.index.get(name).copied()
    }

    pub(super) fn get(&self, at: u32) -> Option<&V> {
        self.slots.get(at as usize)?.as_ref().map(|(_, value)| value)
    }

    pub(super) fn get_mut(&mut self, at: u32) -> Option<&mut V> {
        self.slots.get_mut(at as usize)?.as_mut().map(|(_, value)| value)
    }

    pub(super) fn name(&self, at: u32) -> &K {
        &self.slots[at as usize].as_ref().expect("rows hold numbers of names in use").0
    }

    pub(super) fn remove(&mut self, at: u32) -> Option<V> {
        let (name, value) = self.slots.get_mut(at as usize)?.take()?;
        self.index.remove(&name);
        self.free.push(at);
        Some(value)
    }

    /// Every entry, by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, u32, &V)> {
        self.index.iter().filter_map(|(name, at)| self.get(*at).map(|value| (name, *at, value)))
    }

    /// Every number in use.
    pub(super) fn numbers(&self) -> Vec<u32> {
        self.index.values().copied().collect()
    }
}
