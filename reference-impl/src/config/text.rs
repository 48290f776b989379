//! From TOML text to a [`Config`].

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::path::PathBuf;

use serde::Deserialize;
use toml::de::{DeTable, DeValue};

use super::units::{Size, Span};
use super::{
    Config, ConfigError, Network, OnStoreDamage, Peer, Preference, Role, Route, ShadowModel,
};

macro_rules! file {
    (
        required { $($req:ident: $req_ty:ty),* $(,)? }
        optional { $($(#[$attr:meta])* $opt:ident: $opt_ty:ty => |$v:ident| $conv:expr),* $(,)? }
    ) => {
        /// The file as written; every key but the first few has a default.
        #[derive(Deserialize)]
        #[serde(rename_all = "kebab-case", deny_unknown_fields)]
        struct File {
            $($req: $req_ty,)*
            $($(#[$attr])* #[serde(default)] $opt: Option<$opt_ty>,)*
        }

        /// Every key of the file, as a field is named.
        #[cfg(test)]
        const FIELDS: &[&str] = &[
            $(stringify!($req),)*
            $($(#[$attr])* stringify!($opt),)*
        ];

        impl File {
            fn into_config(self) -> Config {
                let mut config = Config::new(&self.name, self.listen, self.store);
                $($(#[$attr])* if let Some($v) = self.$opt { config.$opt = $conv; })*
                config
            }
        }
    };
}

file! {
    required { name: String, listen: SocketAddr, store: PathBuf }
    optional {
        source: IpAddr => |v| Some(v),
        segment_bytes: Size => |v| v.0,
        on_store_damage: OnStoreDamage => |v| v,
        admin: PathBuf => |v| Some(v),
        metrics_listen: SocketAddr => |v| Some(v),
        log_level: crate::event::Level => |v| v,
        role: Role => |v| v,
        site: String => |v| v,
        boundary: String => |v| Some(v),
        machine: String => |v| Some(v),
        peers: Vec<Peer> => |v| v,
        cluster_key: String => |v| Some(key_bytes(&v)),
        routes: Vec<Route> => |v| v,
        resolvers: Vec<SocketAddr> => |v| v,
        tls_certificate: PathBuf => |v| Some(v),
        tls_key: PathBuf => |v| Some(v),
        tls_roots: PathBuf => |v| Some(v),
        users: PathBuf => |v| Some(v),
        relay_from: Vec<Network> => |v| v,
        local_domains: Vec<String> => |v| v,
        mailbox_domains: Vec<String> => |v| v,
        databases: Vec<String> => |v| v,
        mounted_databases: Vec<String> => |v| Some(v),
        replay_lag_time: Span => |v| v.0,
        mailbox_delivery_queue_retry_interval: Span => |v| v.0,
        safety_net_hold_time: Span => |v| v.0,
        safety_net_hold_time_interval: Span => |v| Some(v.0),
        safety_net_shadow_delay: Span => |v| v.0,
        retry_interval: Span => |v| v.0,
        retry_steps: Vec<Span> => |v| v.into_iter().map(|s| s.0).collect(),
        message_expiration_timeout: Span => |v| v.0,
        delay_notification_timeout: Span => |v| v.0,
        shadow_redundancy_enabled: bool => |v| v,
        shadow_model: ShadowModel => |v| v,
        shadow_heartbeat_timeout_interval: Span => |v| v.0,
        shadow_heartbeat_retry_count: u8 => |v| v,
        max_acknowledgement_delay: Span => |v| v.0,
        delayed_ack_skipping_enabled: bool => |v| v,
        delayed_ack_skipping_queue_length: u32 => |v| v,
        shadow_redundancy_promotion_enabled: bool => |v| v,
        shadow_heartbeat_frequency: Span => |v| v.0,
        shadow_resubmit_time_span: Span => |v| v.0,
        shadow_message_auto_discard_interval: Span => |v| v.0,
        reject_message_on_shadow_failure: bool => |v| v,
        shadow_message_preference_setting: Preference => |v| v,
        max_retries_for_remote_site_shadow: u8 => |v| v,
        max_retries_for_local_site_shadow: u8 => |v| v,
        shadow_attempt_timeout: Span => |v| v.0,
        connection_inactivity_timeout: Span => |v| v.0,
        connection_timeout: Span => |v| v.0,
        send_connection_inactivity_timeout: Span => |v| v.0,
        send_connection_idle_time: Span => |v| v.0,
        max_message_bytes: Size => |v| v.0,
        body_budget_bytes: Size => |v| v.0,
        store_budget_bytes: Size => |v| v.0,
        queue_budget_messages: u64 => |v| v,
        pressure_medium_percent: u8 => |v| v,
        pressure_high_percent: u8 => |v| v,
        max_connections: u32 => |v| v,
        max_connections_per_source: u32 => |v| v,
        max_header_bytes: Size => |v| v.0,
        max_recipients: u32 => |v| v,
        max_connections_per_host: u32 => |v| v,
        max_connections_per_peer: u32 => |v| v,
        duplicate_detection_window: Span => |v| v.0,
        test_times: bool => |v| v,
        #[cfg(feature = "defects")] defect: crate::defect::Defect => |v| Some(v),
    }
}

/// The bytes of a key: of its text, or of its digits after `hex:`. A wrong
/// digit gives an empty key, which the check refuses.
fn key_bytes(text: &str) -> Vec<u8> {
    match text.strip_prefix("hex:") {
        None => text.as_bytes().to_vec(),
        Some(digits) => crate::hex::decode(digits).unwrap_or_default(),
    }
}

pub(super) fn read(text: &str, file: &str) -> Result<Config, ConfigError> {
    let parsed: File = toml::from_str(text)
        .map_err(|error| ConfigError::bare("", error.message()).at(file, text, error.span()))?;
    let config = parsed.into_config();
    config.check().map_err(|error| {
        let span = DeTable::parse(text)
            .ok()
            .and_then(|table| locate(table.get_ref(), &error.key));
        error.at(file, text, span)
    })?;
    Ok(config)
}

/// The place of `peers[1].address` in the text; that of the nearest part
/// that exists when the whole does not.
fn locate(table: &DeTable<'_>, key: &str) -> Option<Range<usize>> {
    let mut parts = key.split(['.', '[']).map(|part| part.trim_end_matches(']'));
    let first = parts.next()?;
    let entry = table.iter().find(|(k, _)| k.get_ref() == first)?.1;
    let mut span = entry.span();
    let mut value = entry.get_ref();
    for part in parts {
        let next = match value {
            DeValue::Array(array) => part.parse::<usize>().ok().and_then(|at| array.get(at)),
            DeValue::Table(table) => table
                .iter()
                .find(|(k, _)| k.get_ref() == part)
                .map(|(_, v)| v),
            _ => None,
        };
        let Some(next) = next else { break };
        span = next.span();
        value = next.get_ref();
    }
    Some(span)
}

#[cfg(test)]
mod tests {
    use super::super::parameters::GROUPS;
    use super::FIELDS;

    #[test]
    fn every_key_is_in_the_table_once() {
        let mut keys: Vec<String> = FIELDS
            .iter()
            .filter(|field| **field != "defect")
            .map(|field| field.replace('_', "-"))
            .collect();
        let mut rows: Vec<&str> = GROUPS
            .iter()
            .flat_map(|group| group.rows)
            .map(|row| row.key)
            .filter(|key| !key.contains('['))
            .collect();
        keys.sort_unstable();
        rows.sort_unstable();
        assert_eq!(rows, keys, "parameters.rs and text.rs name the same keys");
    }
}
