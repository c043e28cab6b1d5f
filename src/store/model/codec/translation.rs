//! Slots, translations and what is known of their texts.

use super::*;

fn agent_record(agent: &Agent) -> rec::Agent {
    rec::Agent {
        kind: kind_code(agent.kind),
        person: agent.person.clone(),
        organization: agent.organization.clone(),
        tool: agent.tool.clone(),
        engine: agent.engine.clone(),
        model: agent.model.clone(),
        model_version: agent.model_version.clone(),
        rev_person: agent.rev_person.clone(),
        rev_organization: agent.rev_organization.clone(),
        rev_tool: agent.rev_tool.clone(),
        prompt_id: agent.prompt_id.clone(),
        glossary_id: agent.glossary_id.clone(),
        memory_id: agent.memory_id.clone(),
        principal: agent.principal.clone(),
    }
}

fn agent(record: Option<rec::Agent>) -> Result<Agent> {
    let record = some(record, "agent")?;
    Ok(Agent {
        kind: agent_kind(record.kind)?,
        person: record.person,
        organization: record.organization,
        tool: record.tool,
        engine: record.engine,
        model: record.model,
        model_version: record.model_version,
        rev_person: record.rev_person,
        rev_organization: record.rev_organization,
        rev_tool: record.rev_tool,
        prompt_id: record.prompt_id,
        glossary_id: record.glossary_id,
        memory_id: record.memory_id,
        principal: record.principal,
    })
}

fn binding_record(binding: &Binding) -> rec::Binding {
    rec::Binding {
        number: segment_number(&binding.id),
        source_revision: binding.source_revision,
        source_hash: binding.source_hash.0.to_vec(),
        target_hash: binding.target_hash.0.to_vec(),
        state: state_code(binding.state),
        sub_state: binding.sub_state.clone(),
        writer: kind_code(binding.writer),
        origin: origin_code(binding.origin),
        reviewed: binding.reviewed,
        author: binding.author.map(|author| author.0),
        copied: binding.copied,
        untranslatable: !binding.translate,
    }
}

fn binding(record: rec::Binding) -> Result<Binding> {
    Ok(Binding {
        id: segment_id(record.number),
        source_revision: record.source_revision,
        source_hash: hash(&record.source_hash)?,
        translate: !record.untranslatable,
        target_hash: hash(&record.target_hash)?,
        state: state(record.state)?,
        sub_state: record.sub_state,
        writer: agent_kind(record.writer)?,
        origin: origin(record.origin)?,
        reviewed: record.reviewed,
        author: record.author.map(AgentIdentity),
        copied: record.copied,
    })
}

pub(in crate::store) fn translation_record(head: &TranslationHead) -> rec::TranslationHead {
    rec::TranslationHead {
        id: head.id.0,
        etag: etag_record(head.etag),
        disposition: disposition_code(head.disposition),
        agent: Some(agent_record(&head.agent)),
        source_revision: head.source_revision,
        source_content_hash: head.source_content_hash.0.to_vec(),
        external_uri: head.external_uri.clone(),
        external_state: state_code(head.external_state),
        external_reviewed: head.external_reviewed,
        bindings: head.bindings.iter().map(binding_record).collect(),
        scored: head.scored,
        created: stamp_record(head.created),
        updated: stamp_record(head.updated),
        history: newest_record(head.version),
    }
}

pub(in crate::store) fn translation(record: rec::TranslationHead, own: Stamp) -> Result<TranslationHead> {
    Ok(TranslationHead {
        id: TranslationId(record.id),
        etag: etag(record.etag)?,
        disposition: disposition(record.disposition)?,
        agent: agent(record.agent)?,
        source_revision: record.source_revision,
        source_content_hash: hash(&record.source_content_hash)?,
        external_uri: record.external_uri,
        external_state: match record.external_state {
            0 => State::Translated,
            code => state(code)?,
        },
        external_reviewed: record.external_reviewed,
        bindings: record.bindings.into_iter().map(binding).collect::<Result<_>>()?,
        scored: record.scored,
        created: stamp(record.created, own)?,
        updated: stamp(record.updated, own)?,
        version: newest(record.history, own)?,
    })
}

pub(in crate::store) fn encode_slot(slot: &Slot) -> Vec<u8> {
    rec::Slot {
        article: slot.article.as_str().to_owned(),
        language: slot.language.as_str().to_owned(),
        version: slot.version,
        etag: etag_record(slot.etag),
        translations: slot.translations.iter().map(translation_record).collect(),
        selections: newest_record(slot.selection),
    }
    .encode_to_vec()
}

pub(in crate::store) fn decode_slot(payload: &[u8], own: Stamp) -> Result<Slot> {
    let record: rec::Slot = message(payload)?;
    Ok(Slot {
        article: article_id(&record.article)?,
        language: Language::from_canonical(&record.language),
        version: record.version,
        stamp: own,
        etag: etag(record.etag)?,
        translations: record
            .translations
            .into_iter()
            .map(|t| translation(t, own))
            .collect::<Result<_>>()?,
        selection: newest(record.selections, own)?,
    })
}

pub(in crate::store) fn provenance_record(provenance: &Provenance) -> rec::Provenance {
    rec::Provenance {
        agent: Some(agent_record(&provenance.agent)),
        actor: actor_record(&provenance.actor),
        segments: provenance.segments.iter().map(segment_number).collect(),
        source_revision: provenance.source_revision,
        request_id: provenance.request_id.map(|id| id.0.to_vec()).unwrap_or_default(),
        job_id: provenance.job_id.clone(),
        pivot: provenance.pivot.clone(),
        characters: provenance.characters,
        cost_micros: provenance.cost_micros,
        currency: provenance.currency.clone(),
        duration_ms: provenance.duration_ms,
        match_quality: provenance.match_quality,
        step: step_code(provenance.step),
        state: provenance.state.map(state_code).unwrap_or_default(),
        reason: provenance.reason.clone(),
    }
}

pub(in crate::store) fn request_id(bytes: &[u8]) -> Result<RequestId> {
    bytes
        .try_into()
        .map(RequestId)
        .map_err(|_| malformed("request id"))
}

pub(in crate::store) fn provenance(record: rec::Provenance, own: Stamp) -> Result<Provenance> {
    Ok(Provenance {
        stamp: own,
        agent: agent(record.agent)?,
        actor: actor(record.actor),
        segments: record.segments.into_iter().map(segment_id).collect(),
        source_revision: record.source_revision,
        request_id: (!record.request_id.is_empty())
            .then(|| request_id(&record.request_id))
            .transpose()?,
        job_id: record.job_id,
        pivot: record.pivot,
        characters: record.characters,
        cost_micros: record.cost_micros,
        currency: record.currency,
        duration_ms: record.duration_ms,
        match_quality: record.match_quality,
        step: match record.step {
            0 => Step::Attached,
            code => step(code)?,
        },
        state: (record.state != 0).then(|| state(record.state)).transpose()?,
        reason: record.reason,
    })
}

pub(in crate::store) fn selection_record(selection: &Selection) -> rec::Selection {
    let disposition = |(id, disposition): &(TranslationId, Disposition)| rec::DispositionOf {
        translation: id.0,
        disposition: disposition_code(*disposition),
    };
    let choice = &selection.choice;
    rec::Selection {
        etag: etag_record(selection.etag),
        dispositions: selection.dispositions.iter().map(disposition).collect(),
        actor: actor_record(&selection.actor),
        history: number_record(selection.number),
        choice: Some(rec::Choice {
            step: step_code(choice.step),
            translation: choice.translation.map(|id| id.0).unwrap_or_default(),
            replaced: choice.replaced.map(|id| id.0).unwrap_or_default(),
            agent: choice.agent.as_ref().map(agent_record),
            reason: choice.reason.clone(),
            request_id: choice.request_id.map(|id| id.0.to_vec()).unwrap_or_default(),
        }),
    }
}

pub(in crate::store) fn selection(record: rec::Selection, own: Stamp) -> Result<Selection> {
    let disposition =
        |of: rec::DispositionOf| Ok((TranslationId(of.translation), disposition(of.disposition)?));
    let part = record
        .history
        .iter()
        .flat_map(|history| &history.newest)
        .map(|newest| newest.part);
    let is_detachment = part.sum::<u32>() == 0;
    let choice = match record.choice {
        Some(record) => choice(record)?,
        None => Choice {
            step: if is_detachment {
                Step::Detached
            } else {
                Step::Attached
            },
            translation: None,
            replaced: None,
            agent: None,
            reason: String::new(),
            request_id: None,
        },
    };
    Ok(Selection {
        stamp: own,
        etag: etag(record.etag)?,
        dispositions: record
            .dispositions
            .into_iter()
            .map(disposition)
            .collect::<Result<_>>()?,
        choice,
        actor: actor(record.actor),
        number: number(record.history, own)?,
    })
}

fn choice(record: rec::Choice) -> Result<Choice> {
    let translation = |number| (number != 0).then_some(TranslationId(number));
    Ok(Choice {
        step: step(record.step)?,
        translation: translation(record.translation),
        replaced: translation(record.replaced),
        agent: record.agent.map(|record| agent(Some(record))).transpose()?,
        reason: record.reason,
        request_id: (!record.request_id.is_empty())
            .then(|| request_id(&record.request_id))
            .transpose()?,
    })
}

pub(in crate::store) fn score_record(score: &QualityScore) -> rec::QualityScore {
    rec::QualityScore {
        metric: score.metric.clone(),
        metric_version: score.metric_version.clone(),
        model: score.model.clone(),
        value: score.value,
        min: score.min,
        max: score.max,
        higher_is_better: score.higher_is_better,
        segment: score.segment.as_ref().map(segment_number),
        target_hash: score.target_hash.0.to_vec(),
        source_hash: score.source_hash.0.to_vec(),
        reference_kind: score.reference_kind.clone(),
        scorer: score.scorer.clone(),
        stamp: stamp_record(score.stamp),
    }
}

pub(in crate::store) fn score(record: rec::QualityScore, own: Stamp) -> Result<QualityScore> {
    Ok(QualityScore {
        metric: record.metric,
        metric_version: record.metric_version,
        model: record.model,
        value: record.value,
        min: record.min,
        max: record.max,
        higher_is_better: record.higher_is_better,
        segment: record.segment.map(segment_id),
        target_hash: hash(&record.target_hash)?,
        source_hash: hash(&record.source_hash)?,
        reference_kind: record.reference_kind,
        scorer: record.scorer,
        stamp: stamp(record.stamp, own)?,
    })
}
