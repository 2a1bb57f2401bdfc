//! uWSGI's alarms: `alarm = NAME cmd:...`.
//!
//! Nothing in uWSGI tells whether an alarm exists: `uwsgi_alarm_trigger` ignores unknown names, and
//! `uwsgi_get_exported_opt` returns only the first of several `alarm` options. But uWSGI collects
//! these in a list, and the option itself, which `uwsgi_opt_get` returns, points to that list: it is
//! the argument of the option's function, `uwsgi_opt_add_string_list` (core/uwsgi.c). The names are
//! read there, the same way in 2.0.1 to 2.0.31.

use std::ffi::{CStr, CString, c_char};

use super::abi::{OptionFunction, uwsgi_option, uwsgi_string_list};
use super::settings;
use crate::sys::look_up;

/// `uwsgi_opt_get`.
type GetOption = unsafe extern "C" fn(*mut c_char) -> *mut uwsgi_option;
/// `uwsgi_alarm_trigger`.
type Trigger = unsafe extern "C" fn(*mut c_char, *mut c_char, usize);

/// The names of all alarms. They are complete once options have been parsed. `None` if this uWSGI
/// does not tell.
pub fn names() -> Option<Vec<Vec<u8>>> {
    // SAFETY: the types are those of uwsgi.h.
    let (get_option, add_to_list): (GetOption, OptionFunction) = unsafe {
        (
            look_up(c"uwsgi_opt_get")?,
            look_up(c"uwsgi_opt_add_string_list")?,
        )
    };
    // SAFETY: uWSGI reads the name, and returns null or one of its options, which live as long as the
    // process.
    let option = unsafe { get_option(c"alarm".as_ptr().cast_mut()).as_ref() }?;
    let is_list = option
        .func
        .is_some_and(|function| function as usize == add_to_list as usize);
    let list = option.data.cast::<*mut uwsgi_string_list>();
    if !is_list || list.is_null() {
        return None;
    }
    // SAFETY: the argument of this function is a list, which only grows while options are parsed.
    Some(unsafe { first_words(*list) })
}

/// # Safety
/// A list of uWSGI's that does not change.
unsafe fn first_words(mut list: *const uwsgi_string_list) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    // SAFETY: the caller's promise.
    while let Some(item) = unsafe { list.as_ref() } {
        // SAFETY: as above.
        let value = unsafe { CStr::from_ptr(item.value) }.to_bytes();
        let word = value.split(|byte| *byte == b' ').next();
        words.extend(word.map(<[u8]>::to_vec));
        list = item.next;
    }
    words
}

/// Triggers an alarm. uWSGI passes the message to its alarm thread through a socket that never
/// blocks (core/utils.c, `uwsgi_thread_new_with_data`), so any thread of the master may do it.
pub fn trigger(name: &[u8], message: &str) {
    // SAFETY: the type is that of uwsgi.h.
    let trigger: Option<Trigger> = unsafe { look_up(c"uwsgi_alarm_trigger") };
    let (Some(trigger), Ok(name)) = (trigger, CString::new(name)) else {
        return;
    };
    let message = cut(message, settings::alarm_message_size());
    // SAFETY: uWSGI reads the name and as much of the message as there is.
    unsafe {
        trigger(
            name.as_ptr().cast_mut(),
            message.as_ptr().cast_mut().cast(),
            message.len(),
        );
    }
}

/// The beginning of a text that has at most so many bytes.
fn cut(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_the_first_word() {
        let values = [c"one cmd:cat > /tmp/x", c"two log:"];
        let mut second = item(values[1], std::ptr::null_mut());
        let first = item(values[0], &mut second);
        // SAFETY: a list that does not change.
        let words = unsafe { first_words(&first) };
        assert_eq!(words, [b"one", b"two"]);
    }

    fn item(value: &'static CStr, next: *mut uwsgi_string_list) -> uwsgi_string_list {
        uwsgi_string_list {
            value: value.as_ptr().cast_mut(),
            len: value.count_bytes(),
            custom: 0,
            custom2: 0,
            custom_ptr: std::ptr::null_mut(),
            next,
        }
    }

    #[test]
    fn a_message_is_cut_between_characters() {
        for (text, most, cut_text) in [
            ("abc", 8, "abc"),
            ("abc", 2, "ab"),
            ("aéb", 2, "a"),
            ("é", 0, ""),
        ] {
            assert_eq!(cut(text, most), cut_text);
        }
    }

    #[test]
    fn without_uwsgi_there_is_nothing_to_tell() {
        assert_eq!(names(), None);
        trigger(b"one", "text");
    }
}
