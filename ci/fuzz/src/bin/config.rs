//! A configuration file of any text: read or refused with a place, never a
//! panic; what is read can be checked again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mailproof_node::Config;

fuzz_target!(|text: &str| {
    match Config::from_toml(text, "f") {
        Ok(config) => config.check().expect("what was read holds"),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
