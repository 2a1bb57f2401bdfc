//! uWSGI's metrics: numbers in our memory that its collector reads.
//!
//! The collector is a thread of the master (core/metrics.c, `uwsgi_metrics_loop`). Once a second it
//! copies each number to the memory that workers, the stats server and the pushers read. So our
//! numbers need not be shared between processes, and uWSGI never calls back.

use std::ffi::{CString, c_char, c_void};
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::AtomicI64;

use super::abi::uwsgi_metric;
use crate::sys::look_up;

/// How a number behaves. The values are uWSGI's (uwsgi.h, `UWSGI_METRIC_COUNTER` and so on).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// It only grows.
    Counter = 0,
    Gauge = 1,
}

/// `uwsgi_register_metric`.
type Register = unsafe extern "C" fn(
    name: *mut c_char,
    oid: *mut c_char,
    kind: u8,
    collector: *mut c_char,
    number: *mut c_void,
    seconds: u32,
    custom: *mut c_void,
) -> *mut uwsgi_metric;

/// A number that uWSGI shows.
pub struct Metric {
    metric: NonNull<uwsgi_metric>,
    kind: Kind,
}

// SAFETY: uWSGI's metrics live as long as the process. They are changed before there are threads.
unsafe impl Send for Metric {}
// SAFETY: as above.
unsafe impl Sync for Metric {}

/// Makes uWSGI show a number under this name. `None` if its metrics are off, or if it has none.
///
/// To be called in `init`: uWSGI gives memory to the metrics that it knows right after that
/// (core/metrics.c, `uwsgi_setup_metrics`). It exits on a name that is not made of `[A-Za-z0-9._-]`.
pub fn register(name: &str, kind: Kind, number: &'static AtomicI64) -> Option<Metric> {
    // SAFETY: the type is that of uwsgi.h.
    let register: Register = unsafe { look_up(c"uwsgi_register_metric") }?;
    let name = CString::new(name).ok()?;
    // SAFETY: uWSGI copies the name, and looks the collector up by its name. It reads the number, an
    // aligned word, as long as the process lives.
    let metric = unsafe {
        register(
            name.as_ptr().cast_mut(),
            null_mut(),
            kind as u8,
            c"ptr".as_ptr().cast_mut(),
            number.as_ptr().cast(),
            0,
            null_mut(),
        )
    };
    NonNull::new(metric).map(|metric| Metric { metric, kind })
}

impl Metric {
    /// Makes a gauge show its number and nothing else. With `metrics-dir-restore`, uWSGI adds each
    /// number to the one that it stored before its last start. That is right for a counter only.
    ///
    /// To be called in `postinit_apps`, which comes after `uwsgi_setup_metrics` and before the
    /// collector.
    pub fn forget_stored(&self) {
        if self.kind == Kind::Gauge {
            // SAFETY: a metric of uWSGI's, and no other thread reads it yet.
            unsafe { (*self.metric.as_ptr()).initial_value = 0 };
        }
    }
}
