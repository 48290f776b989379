//! The scenario files are data: `smoke/` and the other folders beside this
//! one. They become tests in `tests/scenarios.rs`, and `mailproof` carries
//! them in itself.
