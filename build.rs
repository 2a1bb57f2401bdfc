//! Links the plugin so that it is never unloaded, because uWSGI keeps pointers into it, and threads
//! and thread-local destructors may outlive a `dlclose`.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete,-z,relro,-z,now");
}
