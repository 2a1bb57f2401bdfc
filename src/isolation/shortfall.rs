//! Whether something could not be kept confidential.

use std::sync::atomic::{AtomicBool, Ordering};

static FELL_SHORT: AtomicBool = AtomicBool::new(false);

/// Something could not be kept from forked processes, core dumps or the swap.
pub fn note_shortfall() {
    FELL_SHORT.store(true, Ordering::Relaxed);
}

/// Whether that was noted since the last call.
pub fn fell_short() -> bool {
    FELL_SHORT.swap(false, Ordering::Relaxed)
}
