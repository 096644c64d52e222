//! UpdateFeatures 0-2 (KIP-584, KIP-778): raising and lowering finalized levels. kraft.version is a control record, so consensus raises it.

use odradek_protocol::messages::update_features_request::{
    FeatureUpdateKey, UpdateFeaturesRequest,
};
use odradek_protocol::messages::update_features_response::{
    UpdatableFeatureResult, UpdateFeaturesResponse,
};
use odradek_protocol::metadata_records::{FeatureLevelRecord, MetadataRecord};
use odradek_protocol::{ErrorCode, StrBytes};

use super::QuorumController;
use super::options::{CallContext, ControllerResult, Refusal};
use crate::image::{ConfigResource, ELR_VERSION, KRAFT_VERSION, METADATA_VERSION, VersionRange};

/// A feature and the levels this version of Odradek honours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SupportedFeature {
    /// Kafka's name.
    pub name: &'static str,
    /// Lowest level.
    pub min: i16,
    /// Highest level.
    pub max: i16,
}

/// What a node registers and ApiVersions shows. A feature whose level is held at 0 says so by its range.
pub const SUPPORTED_FEATURES: &[SupportedFeature] = &[
    feature(ELR_VERSION, 0, 1),
    feature("group.version", 0, 0),
    feature(KRAFT_VERSION, 0, 1),
    feature(METADATA_VERSION, 7, 30),
    feature("share.version", 0, 0),
    feature("streams.version", 0, 0),
    feature("transaction.version", 0, 0),
];

/// The highest level whose records differ from those before: no downgrade may cross one of these.
const LEVELS_THAT_CHANGED_RECORDS: &[i16] = &[8, 11, 13, 14, 15, 17, 23, 30];

const fn feature(name: &'static str, min: i16, max: i16) -> SupportedFeature {
    SupportedFeature { name, min, max }
}

impl QuorumController {
    /// Changes finalized levels: all that the request names, or none.
    pub fn update_features(
        &mut self,
        request: &UpdateFeaturesRequest,
        context: &CallContext,
    ) -> ControllerResult<UpdateFeaturesResponse> {
        let mut records = Vec::new();
        let mut results = Vec::new();
        let mut first_refusal = self.check_active().err();
        for (place, update) in request.feature_updates.iter().enumerate() {
            let repeated = request.feature_updates[..place]
                .iter()
                .any(|other| other.feature == update.feature);
            let made = match (&first_refusal, repeated) {
                (Some(refusal), _) => Err(refusal.clone()),
                (None, true) => Err(invalid_request(format!(
                    "The feature {} is named more than once.",
                    update.feature
                ))),
                (None, false) => self.feature_records(update, context.api_version),
            };
            let refusal = made.as_ref().err().cloned();
            results.push(UpdatableFeatureResult {
                feature: update.feature.clone(),
                error_code: refusal
                    .as_ref()
                    .map_or(ErrorCode::None, |why| why.code)
                    .code(),
                error_message: refusal.as_ref().and_then(Refusal::text),
                ..UpdatableFeatureResult::default()
            });
            first_refusal = first_refusal.or(refusal);
            records.extend(made.unwrap_or_default());
        }
        if first_refusal.is_some() || request.validate_only {
            records.clear();
        }
        let mut response = UpdateFeaturesResponse {
            error_message: None,
            ..UpdateFeaturesResponse::default()
        };
        if let Some(refusal) = &first_refusal {
            response.error_code = refusal.code.code();
            response.error_message = refusal.text();
        }
        // Results by feature only of a request that succeeds, as Kafka does since all or nothing is done.
        if context.api_version <= 1 && first_refusal.is_none() {
            response.results = results;
        }
        ControllerResult::atomic(records, response)
    }

    fn feature_records(
        &self,
        update: &FeatureUpdateKey,
        api_version: i16,
    ) -> Result<Vec<MetadataRecord>, Refusal> {
        let name = update.feature.as_str();
        let level = update.max_version_level;
        let Some(supported) = SUPPORTED_FEATURES.iter().find(|known| known.name == name) else {
            return Err(refuse(format!(
                "Invalid update version {level} for feature {name}. The controller does not support the given feature."
            )));
        };
        if level < 0 {
            return Err(refuse(format!(
                "Invalid update version {level} for feature {name}. A feature version cannot be less than 0."
            )));
        }
        let current = match name {
            KRAFT_VERSION => self.options.kraft_version,
            _ => self.image().feature_level(name),
        };
        if level == current {
            return Ok(Vec::new());
        }
        if !(supported.min..=supported.max).contains(&level) {
            return Err(refuse(format!(
                "Invalid update version {level} for feature {name}. Local controller {} only supports versions {}-{}",
                self.options.node_id, supported.min, supported.max
            )));
        }
        self.check_direction(update, api_version, current)?;
        self.check_nodes(name, level)?;
        self.check_level(name, level, current)?;
        let mut records = vec![
            FeatureLevelRecord {
                name: StrBytes::from(name),
                feature_level: level,
                ..FeatureLevelRecord::default()
            }
            .into(),
        ];
        if name == ELR_VERSION && level >= 1 {
            records.append(&mut self.elr_config_records());
        }
        Ok(records)
    }

    fn check_direction(
        &self,
        update: &FeatureUpdateKey,
        api_version: i16,
        current: i16,
    ) -> Result<(), Refusal> {
        let upgrade_type = match (api_version, update.allow_downgrade) {
            (0, true) => 2,
            (0, false) => 1,
            _ => update.upgrade_type,
        };
        let (name, level) = (&update.feature, update.max_version_level);
        match upgrade_type {
            1 if level < current => Err(refuse(format!(
                "Invalid update version {level} for feature {name}. Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade."
            ))),
            2 | 3 if level > current => Err(refuse(format!(
                "Invalid update version {level} for feature {name}. Can't downgrade to a newer version."
            ))),
            1..=3 => Ok(()),
            other => Err(invalid_request(format!("Unknown upgrade type {other}."))),
        }
    }

    /// Every registered node must understand the level.
    fn check_nodes(&self, name: &str, level: i16) -> Result<(), Refusal> {
        let image = self.image();
        let brokers = image
            .brokers
            .values()
            .map(|node| ("Broker", node.id, &node.features));
        let controllers = image
            .controllers
            .values()
            .map(|node| ("Controller", node.id, &node.features));
        for (kind, id, features) in brokers.chain(controllers) {
            let range = features
                .get(name)
                .copied()
                .unwrap_or(VersionRange { min: 0, max: 0 });
            if level != 0 && !(range.min..=range.max).contains(&level) {
                return Err(refuse(format!(
                    "Invalid update version {level} for feature {name}. {kind} {id} only supports versions {}-{}",
                    range.min, range.max
                )));
            }
        }
        Ok(())
    }

    fn check_level(&self, name: &str, level: i16, current: i16) -> Result<(), Refusal> {
        let why = match name {
            METADATA_VERSION if level < current => LEVELS_THAT_CHANGED_RECORDS
                .iter()
                .find(|&&changed| level < changed && changed <= current)
                .map(|changed| {
                    format!("Refusing to go below {changed}, which changed the metadata records: what they hold would be lost.")
                }),
            METADATA_VERSION if level < 23 && self.image().is_elr_enabled() => {
                Some(format!("{ELR_VERSION} needs metadata.version 23."))
            }
            ELR_VERSION if level >= 1 && self.image().metadata_version() < 23 => {
                Some("It needs metadata.version 23.".to_string())
            }
            KRAFT_VERSION if level < current => Some("Can't downgrade kraft.version.".to_string()),
            KRAFT_VERSION => Some(
                "A quorum with static voters cannot be made dynamic by this version of Odradek; format it with --standalone or --initial-controllers."
                    .to_string(),
            ),
            _ => None,
        };
        match why {
            Some(why) => Err(refuse(format!(
                "Invalid update version {level} for feature {name}. {why}"
            ))),
            None => Ok(()),
        }
    }

    /// With ELR, min.insync.replicas must be one value for all brokers: set for the cluster, on no broker.
    pub(super) fn elr_config_records(&self) -> Vec<MetadataRecord> {
        const MIN_ISR: &str = "min.insync.replicas";
        let image = self.image();
        let mut records = Vec::new();
        let cluster = ConfigResource::cluster();
        if image
            .config(&cluster)
            .is_none_or(|map| !map.contains_key(MIN_ISR))
        {
            let value = self
                .options
                .static_config
                .get(MIN_ISR)
                .map_or("1", String::as_str);
            records.push(Self::config_record(&cluster, MIN_ISR, Some(value)));
        }
        for (resource, map) in image.configs.iter() {
            let is_broker = resource.resource_type == cluster.resource_type;
            if is_broker && !resource.name.is_empty() && map.contains_key(MIN_ISR) {
                records.push(Self::config_record(resource, MIN_ISR, None));
            }
        }
        records
    }
}

fn refuse(message: String) -> Refusal {
    Refusal::new(ErrorCode::InvalidUpdateVersion, message)
}

fn invalid_request(message: String) -> Refusal {
    Refusal::new(ErrorCode::InvalidRequest, message)
}
