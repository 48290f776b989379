//! What a configuration may say, and how it is told that it may not.

use mailproof_node::config::ShadowModel;
use mailproof_node::{Config, Preference};

const BASE: &str = "name = \"n1\"\nlisten = \"127.0.0.1:25\"\nstore = \"store\"\n";

fn with(text: &str) -> Result<Config, String> {
    Config::from_toml(&format!("{BASE}{text}"), "n1.toml").map_err(|error| error.to_string())
}

#[test]
fn the_sample_holds() {
    let sample = include_str!("../sample.toml");
    let config = Config::from_toml(sample, "sample.toml").unwrap();
    assert_eq!(config.peers.len(), 2);
    assert_eq!(config.cluster_key.unwrap().len(), 32);
}

#[test]
fn documented_defaults() {
    let config = with("").unwrap();
    assert!(config.shadow_redundancy_enabled);
    assert!(!config.reject_message_on_shadow_failure);
    assert_eq!(config.shadow_heartbeat_frequency.as_secs(), 120);
    assert_eq!(config.shadow_resubmit_time_span.as_secs(), 3 * 3600);
    assert_eq!(
        config.shadow_message_auto_discard_interval.as_secs(),
        2 * 86_400
    );
    assert_eq!(config.message_expiration_timeout.as_secs(), 2 * 86_400);
    assert_eq!(config.max_retries_for_local_site_shadow, 2);
    assert_eq!(config.max_retries_for_remote_site_shadow, 4);
    assert_eq!(
        config.shadow_message_preference_setting,
        Preference::PreferRemote
    );
    assert_eq!((config.site.as_str(), config.boundary), ("default", None));
    assert_eq!(config.shadow_model, ShadowModel::Copy);
    assert_eq!(config.shadow_heartbeat_timeout_interval.as_secs(), 15 * 60);
    assert_eq!(config.shadow_heartbeat_retry_count, 12);
    assert_eq!(config.max_acknowledgement_delay.as_secs(), 30);
    assert!(config.delayed_ack_skipping_enabled);
    assert!(!config.shadow_redundancy_promotion_enabled);
    assert!(config.relay_from.is_empty());
}

#[test]
fn documented_ranges() {
    let rows = [
        (
            "shadow-heartbeat-frequency",
            ["999 ms", "2 d"],
            ["1 s", "1 d"],
        ),
        ("shadow-resubmit-time-span", ["0 s", "25 h"], ["1 s", "1 d"]),
        (
            "shadow-heartbeat-timeout-interval",
            ["999 ms", "25 h"],
            ["1 s", "1 d"],
        ),
        (
            "max-acknowledgement-delay",
            ["301 s", "1 d"],
            ["0 s", "300 s"],
        ),
        (
            "shadow-message-auto-discard-interval",
            ["4 s", "91 d"],
            ["5 s", "90 d"],
        ),
        (
            "message-expiration-timeout",
            ["4 s", "91 d"],
            ["5 s", "90 d"],
        ),
        ("connection-timeout", ["0 s", "2 d"], ["6 min", "1 d"]),
        ("retry-interval", ["0 s", "13 h"], ["1 s", "12 h"]),
        (
            "duplicate-detection-window",
            ["59 min", "36601 d"],
            ["1 h", "36500 d"],
        ),
    ];
    for (key, bad, good) in rows {
        for value in bad {
            let error = with(&format!("{key} = \"{value}\"\n")).unwrap_err();
            assert!(error.starts_with("n1.toml:4:"), "{error}");
            assert!(error.contains(key) && error.contains("expected"), "{error}");
        }
        for value in good {
            with(&format!("{key} = \"{value}\"\n")).unwrap();
        }
    }
    for (key, bad) in [
        ("max-recipients", "99"),
        ("shadow-heartbeat-retry-count", "0"),
        ("shadow-heartbeat-retry-count", "16"),
        ("delayed-ack-skipping-queue-length", "1000001"),
        ("shadow-model", "\"both\""),
        ("max-message-bytes", "\"63 KiB\""),
    ] {
        with(&format!("{key} = {bad}\n")).unwrap_err();
    }
    for key in [
        "max-retries-for-local-site-shadow",
        "max-retries-for-remote-site-shadow",
    ] {
        with(&format!("shadow-attempt-timeout = \"1 s\"\n{key} = 255\n")).unwrap();
        for bad in ["256", "-1", "\"2\""] {
            let error = with(&format!("{key} = {bad}\n")).unwrap_err();
            assert!(error.starts_with("n1.toml:4:"), "{error}");
        }
    }
}

#[test]
fn test_times_lift_lower_bounds_only() {
    let short = "shadow-heartbeat-frequency = \"10 ms\"\n";
    with(short).unwrap_err();
    with(&format!("test-times = true\n{short}")).unwrap();
    with("test-times = true\nshadow-heartbeat-frequency = \"9 ms\"\n").unwrap_err();
    with("test-times = true\nshadow-heartbeat-frequency = \"2 d\"\n").unwrap_err();
}

#[test]
fn errors_point_at_their_place() {
    let error = with("shadow-heartbeat-frequency = \"0 s\"\n").unwrap_err();
    assert_eq!(
        error,
        "n1.toml:4:30: shadow-heartbeat-frequency: expected 1 s to 1 d\n\
         \x20 |\n\
         4 | shadow-heartbeat-frequency = \"0 s\"\n\
         \x20 |                              ^^^^^"
    );
    let error = with("shadow-heartbeet = \"1 s\"\n").unwrap_err();
    assert!(error.starts_with("n1.toml:4:1: unknown field"), "{error}");
    let error = with("retry-interval = \"soon\"\n").unwrap_err();
    assert!(
        error.starts_with("n1.toml:4:18: expected a whole number"),
        "{error}"
    );
    let error = with("[[routes]]\ndomain = \"*\"\nnext-hops = [\"nowhere\"]\n").unwrap_err();
    assert!(error.starts_with("n1.toml:6:"), "{error}");
    let error = with("cluster-key = \"0123456789abcdef\"\n[[peers]]\nname = \"n1\"\naddress = \"127.0.0.2:25\"\n")
        .unwrap_err();
    assert!(error.starts_with("n1.toml:6:8: peers[0].name: "), "{error}");
}

#[test]
fn keys_that_need_each_other() {
    let peers = "peers = [{ name = \"n2\", address = \"127.0.0.2:25\" }]\n";
    assert!(with(peers).unwrap_err().contains("cluster-key"));
    with(&format!("cluster-key = \"short\"\n{peers}")).unwrap_err();
    with(&format!("cluster-key = \"hex:0g\"\n{peers}")).unwrap_err();
    with(&format!("cluster-key = \"0123456789abcdef\"\n{peers}")).unwrap();
    with("role = \"mailbox\"\n").unwrap_err();
    with("local-domains = [\"x\"]\n").unwrap_err();
    with("connection-inactivity-timeout = \"10 min\"\n").unwrap_err();
    with("max-retries-for-local-site-shadow = 30\n").unwrap_err();
    with("[[routes]]\ndomain = \"*\"\nnext-hops = [\"127.0.0.1:25\"]\n").unwrap_err();
    with("relay-from = [\"10.0.0.0/33\"]\n").unwrap_err();
}

#[cfg(not(feature = "defects"))]
#[test]
fn a_plain_node_knows_no_defects() {
    assert!(
        with("defect = \"never-take-over\"\n")
            .unwrap_err()
            .contains("unknown field")
    );
}

#[test]
fn sites_and_boundaries() {
    let cluster = |rest: &str, peer: &str| {
        with(&format!(
            "cluster-key = \"0123456789abcdef\"\n{rest}\n\
             [[peers]]\nname = \"n2\"\naddress = \"127.0.0.2:25\"\n{peer}\n"
        ))
    };
    let config = cluster("", "").unwrap();
    assert_eq!(config.peers[0].site, "default");
    assert_eq!(config.peers[0].boundary, None);
    let group = "site = \"east\"\nboundary = \"dag\"\nmachine = \"a\"";
    let config = cluster(group, "site = \"west\"\nboundary = \"dag\"").unwrap();
    assert_eq!((&*config.site, &*config.peers[0].site), ("east", "west"));
    assert_eq!(config.boundary, config.peers[0].boundary);
    for (rest, peer, line, key) in [
        ("site = \"\"", "", 5, "site"),
        ("boundary = \"a b\"", "", 5, "boundary"),
        ("machine = \"\"", "", 5, "machine"),
        ("", "site = \"a/b\"", 9, "site"),
        ("", "boundary = \"\"", 9, "boundary"),
        (
            "shadow-message-preference-setting = \"remote\"",
            "",
            5,
            "shadow-message-preference-setting",
        ),
    ] {
        let error = cluster(rest, peer).unwrap_err();
        assert!(error.starts_with(&format!("n1.toml:{line}:")), "{error}");
        assert!(error.contains(key) && error.contains("expected"), "{error}");
    }
    // All attempts have to fit into what a sender waits: those that can be
    // made at all count.
    let many = "shadow-attempt-timeout = \"2 min\"\nmax-retries-for-local-site-shadow = 1";
    cluster(many, "").unwrap();
    let spanning = |rest: &str| {
        cluster(
            &format!("{many}\n{rest}\nboundary = \"dag\""),
            "site = \"west\"\nboundary = \"dag\"",
        )
    };
    spanning("").unwrap();
    let error = spanning("max-retries-for-remote-site-shadow = 5").unwrap_err();
    assert!(error.contains("6 attempts"), "{error}");
    spanning("max-retries-for-remote-site-shadow = 5\nshadow-message-preference-setting = \"local-only\"")
        .unwrap();
}
