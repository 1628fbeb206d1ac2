//! Makes the program's own `getrandom` visible to look-ups by name, which is how some libraries find it.

fn main() {
    println!("cargo:rustc-link-arg-bins=-Wl,--export-dynamic-symbol=getrandom");
    println!("cargo:rerun-if-changed=build.rs");
}
