//! How the C library's allocator treats a process that lives for weeks.
//!
//! Owns three settings and one call. They decide no promise: a library that knows none of them only keeps more memory.
#![expect(unsafe_code, reason = "mallopt and malloc_trim have no safe form")]

/// Free bytes at the end of the heap that are given back. Fixed, because the default grows with the largest block that
/// was ever freed: one batch of ten thousand tasks would be kept for good.
const KEPT_FREE: i32 = 256 << 10;
/// Blocks from this size on have pages of their own, which go back when they are freed. Fixed for the same reason.
const OWN_PAGES: i32 = 128 << 10;
/// Heaps: the two threads of a daemon rarely wait for each other.
const HEAPS: i32 = 2;

/// Has freed memory given back to the system instead of kept for the next burst.
pub fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    for (setting, value) in [
        (libc::M_TRIM_THRESHOLD, KEPT_FREE),
        (libc::M_MMAP_THRESHOLD, OWN_PAGES),
        (libc::M_ARENA_MAX, HEAPS),
    ] {
        // SAFETY: mallopt only sets numbers of the allocator; a number it does not take changes nothing.
        unsafe { libc::mallopt(setting, value) };
    }
}

/// Gives back what is free inside the heaps, too: after a burst, what still lives lies scattered over all of it. A few
/// milliseconds for ten megabytes.
pub fn give_back_now() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes the allocator's own locks and touches free memory alone.
    unsafe {
        libc::malloc_trim(0);
    }
}
