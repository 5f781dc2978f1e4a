//! One association: negotiation, then messages until release.

use super::command::{self, Request};
use super::file_meta::{self, file_meta};
use super::wire::{MAX_PDU_BYTES, Pace, Wire, WireError};
use super::{Brought, Scp};
use crate::config::Dicom;
use crate::spool::{Admitted, Intake, Origin};
use dicom_ul::pdu::{
    AbortRQServiceProviderReason, AssociationAC, AssociationRJResult,
    AssociationRJServiceProviderPresentationReason, AssociationRJServiceUserReason, AssociationRJSource,
    AssociationRQ, PDataValue, PDataValueType, Pdu, PresentationContextResult,
    PresentationContextResultReason, UserVariableItem,
};
use relay_core::codes::{Code, Refusal};
use relay_core::ids::{InstanceUid, MAX_UID_CHARS};
use relay_core::study::Class;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;

/// DICOM application context (PS3.7 §A.2.1).
const APPLICATION_CONTEXT: &str = "1.2.840.10008.3.1.1.1";
/// Between connecting and the association request (ARTIM, PS3.8 §9.1.5).
const REQUEST_DEADLINE: Duration = Duration::from_secs(30);

/// An accepted context: its abstract and transfer syntax.
type Contexts = BTreeMap<u8, String>;

/// Answers a connection above the limit.
pub(super) async fn turn_away(stream: TcpStream, config: &Dicom) {
    let mut wire = Wire::new(stream, Duration::from_secs(config.idle_s));
    if let Ok(Ok(Pdu::AssociationRQ(_))) = tokio::time::timeout(REQUEST_DEADLINE, wire.next()).await {
        let reason = AssociationRJServiceProviderPresentationReason::LocalLimitExceeded;
        let source = AssociationRJSource::ServiceProviderPresentation(reason);
        wire.reject(AssociationRJResult::Transient, source).await;
    }
}

/// Serves one association to its end; gives how many objects entered custody.
pub(super) async fn serve(
    scp: &Scp,
    stream: TcpStream,
    peer: SocketAddr,
    brought: &Brought,
) -> Result<u64, WireError> {
    stream.set_nodelay(true)?;
    let mut wire = Wire::new(stream, Duration::from_secs(scp.config.idle_s));
    let request = tokio::time::timeout(REQUEST_DEADLINE, wire.next()).await;
    let Pdu::AssociationRQ(request) = request.map_err(|_| WireError::Idle(REQUEST_DEADLINE))?? else {
        wire.abort(AbortRQServiceProviderReason::UnexpectedPdu).await;
        return Err(WireError::Protocol("the first PDU is no association request"));
    };
    if let Err((reason, words)) = allowed(&scp.config, &request, peer) {
        tracing::warn!(%peer, calling = %request.calling_ae_title, called = %request.called_ae_title, words, "association rejected");
        wire.reject(AssociationRJResult::Permanent, AssociationRJSource::ServiceUser(reason)).await;
        return Err(WireError::Protocol(words));
    }
    let calling = request.calling_ae_title.trim().to_owned();
    let (answer, contexts) = accept(request);
    wire.send(&Pdu::AssociationAC(answer)).await?;
    let mut session = Session { scp, wire, contexts, calling, brought, stored: 0 };
    match session.run().await {
        Ok(()) => Ok(session.stored),
        Err(error) => {
            if let Some(reason) = abort_reason(&error) {
                session.wire.abort(reason).await;
            }
            Err(error)
        }
    }
}

const fn abort_reason(error: &WireError) -> Option<AbortRQServiceProviderReason> {
    match error {
        WireError::Closed | WireError::Aborted | WireError::Io(_) => None,
        WireError::Idle(_) | WireError::Slow { .. } => Some(AbortRQServiceProviderReason::ReasonNotSpecified),
        WireError::TooLong { .. } | WireError::Malformed(_) => {
            Some(AbortRQServiceProviderReason::InvalidPduParameter)
        }
        WireError::Protocol(_) => Some(AbortRQServiceProviderReason::UnexpectedPdu),
    }
}

fn allowed(
    config: &Dicom,
    request: &AssociationRQ,
    peer: SocketAddr,
) -> Result<(), (AssociationRJServiceUserReason, &'static str)> {
    use AssociationRJServiceUserReason as Reason;
    if request.application_context_name.trim_matches(['\0', ' ']) != APPLICATION_CONTEXT {
        return Err((Reason::ApplicationContextNameNotSupported, "unknown application context"));
    }
    if !config.any_called_ae && request.called_ae_title.trim() != config.ae_title {
        return Err((Reason::CalledAETitleNotRecognized, "called AE title is not ours"));
    }
    let calling = request.calling_ae_title.trim();
    if !config.allow_ae.is_empty() && !config.allow_ae.iter().any(|ae| ae == calling) {
        return Err((Reason::CallingAETitleNotRecognized, "calling AE title is not in dicom.allow_ae"));
    }
    if !config.allow_address.is_empty() && !config.allow_address.iter().any(|net| net.contains(peer.ip())) {
        return Err((Reason::CallingAETitleNotRecognized, "address is not in dicom.allow_address"));
    }
    Ok(())
}

/// Accepts every context with the first transfer syntax that it offers: nothing is decoded here, so nothing is foreign.
fn accept(request: AssociationRQ) -> (AssociationAC, Contexts) {
    let mut contexts = Contexts::new();
    let results = request.presentation_contexts.into_iter().map(|context| {
        let first = context.transfer_syntaxes.first().map(|uid| uid.trim_matches(['\0', ' ']).to_owned());
        let lawful = |uid: &String| !uid.is_empty() && uid.len() <= MAX_UID_CHARS && uid.is_ascii();
        match first.filter(lawful) {
            Some(syntax) => {
                contexts.insert(context.id, syntax.clone());
                let reason = PresentationContextResultReason::Acceptance;
                PresentationContextResult { id: context.id, reason, transfer_syntax: syntax }
            }
            None => PresentationContextResult {
                id: context.id,
                reason: PresentationContextResultReason::TransferSyntaxesNotSupported,
                transfer_syntax: "1.2.840.10008.1.2".to_owned(),
            },
        }
    });
    let presentation_contexts = results.collect();
    let answer = AssociationAC {
        protocol_version: 1,
        calling_ae_title: request.calling_ae_title,
        called_ae_title: request.called_ae_title,
        application_context_name: APPLICATION_CONTEXT.to_owned(),
        presentation_contexts,
        user_variables: vec![
            UserVariableItem::MaxLength(MAX_PDU_BYTES),
            UserVariableItem::ImplementationClassUID(file_meta::IMPLEMENTATION_CLASS.to_owned()),
            UserVariableItem::ImplementationVersionName(file_meta::IMPLEMENTATION_VERSION.to_owned()),
        ],
    };
    (answer, contexts)
}

struct Session<'a> {
    scp: &'a Scp,
    wire: Wire,
    contexts: Contexts,
    calling: String,
    brought: &'a Brought,
    stored: u64,
}

/// A message that is being received.
enum Message {
    Command { context: u8, bytes: Vec<u8> },
    Data { context: u8, request: Request, intake: Result<Intake, Refusal>, pace: Pace },
}

impl Session<'_> {
    async fn run(&mut self) -> Result<(), WireError> {
        let mut message = None;
        loop {
            match self.wire.next().await? {
                Pdu::PData { data } => {
                    for value in data {
                        message = self.value(message.take(), value).await?;
                    }
                }
                Pdu::ReleaseRQ => {
                    self.wire.send(&Pdu::ReleaseRP).await?;
                    self.wire.close().await;
                    return Ok(());
                }
                Pdu::AbortRQ { .. } => return Err(WireError::Aborted),
                _ => return Err(WireError::Protocol("a PDU that has no place inside an association")),
            }
        }
    }

    async fn value(
        &mut self,
        message: Option<Message>,
        value: PDataValue,
    ) -> Result<Option<Message>, WireError> {
        let id = value.presentation_context_id;
        let Some(syntax) = self.contexts.get(&id).cloned() else {
            return Err(WireError::Protocol("data on a context that was not accepted"));
        };
        let is_command = value.value_type == PDataValueType::Command;
        match (message, is_command) {
            (None, true) => self.command(id, &syntax, Vec::new(), value).await,
            (Some(Message::Command { context, bytes }), true) if context == id => {
                self.command(id, &syntax, bytes, value).await
            }
            (Some(Message::Data { context, request, intake, mut pace }), false) if context == id => {
                pace.add(value.data.len())?;
                self.data(id, request, intake, pace, value).await
            }
            _ => Err(WireError::Protocol("command and data fragments are mixed up")),
        }
    }

    async fn command(
        &mut self,
        context: u8,
        syntax: &str,
        mut bytes: Vec<u8>,
        value: PDataValue,
    ) -> Result<Option<Message>, WireError> {
        bytes.extend_from_slice(&value.data);
        if bytes.len() > command::MAX_COMMAND_BYTES {
            return Err(WireError::Protocol("a command set is too long"));
        }
        if !value.is_last {
            return Ok(Some(Message::Command { context, bytes }));
        }
        let request = command::parse(&bytes).ok_or(WireError::Protocol("a command set cannot be read"))?;
        if request.has_data_set {
            let intake = self.intake(&request, syntax);
            return Ok(Some(Message::Data { context, request, intake, pace: self.wire.pace() }));
        }
        let status = match request.field {
            command::C_ECHO => command::SUCCESS,
            command::C_CANCEL => return Ok(None),
            _ => command::UNRECOGNISED,
        };
        self.wire.command(context, command::response(&request, status, "")).await?;
        Ok(None)
    }

    /// Begins to take a data set. A refusal is answered after the data set has been read to its end.
    fn intake(&self, request: &Request, syntax: &str) -> Result<Intake, Refusal> {
        if request.field != command::C_STORE {
            return Err(Refusal::new(
                Code::FrameUnknown,
                "(0000,0100) CommandField",
                "only C-STORE takes a data set",
            ));
        }
        for (field, uid) in [
            ("(0000,0002) AffectedSOPClassUID", &request.sop_class),
            ("(0000,1000) AffectedSOPInstanceUID", &request.sop_instance),
        ] {
            InstanceUid::parse(uid).map_err(|e| Refusal::new(Code::RefusedUid, field, e.to_string()))?;
        }
        let meta = file_meta(&request.sop_class, &request.sop_instance, syntax);
        Ok(self.scp.spool.intake(meta))
    }

    async fn data(
        &mut self,
        context: u8,
        request: Request,
        mut intake: Result<Intake, Refusal>,
        pace: Pace,
        value: PDataValue,
    ) -> Result<Option<Message>, WireError> {
        if let Ok(intake) = &mut intake {
            intake.push(value.data.into()).await;
        }
        if !value.is_last {
            return Ok(Some(Message::Data { context, request, intake, pace }));
        }
        let result = match intake {
            Ok(intake) => self.admit(intake).await,
            Err(refusal) => Err(refusal),
        };
        let (status, comment) = match &result {
            Ok(_) => (command::SUCCESS, String::new()),
            Err(refusal) => (
                status_of(refusal.code),
                format!("{} {} {}", refusal.code.name(), refusal.field, refusal.reason),
            ),
        };
        self.stored += u64::from(result.is_ok());
        self.wire.command(context, command::response(&request, status, &comment)).await?;
        Ok(None)
    }

    async fn admit(&self, intake: Intake) -> Result<Admitted, Refusal> {
        let rule = self.scp.config.rule.iter().find(|rule| rule.ae == self.calling);
        let origin = Origin {
            source: self.calling.clone(),
            name: None,
            class: rule.map_or(Class::Routine, |rule| rule.class),
            kind: rule.and_then(|rule| rule.kind),
            quiet: true,
            open: true,
        };
        let admitted = intake.admit(&origin).await?;
        self.brought.add(&self.scp.spool, &admitted.study);
        Ok(admitted)
    }
}

/// PS3.4 Table B.2-1.
const fn status_of(code: Code) -> u16 {
    match code {
        Code::StorageFull | Code::RefusedTooLarge | Code::Busy => command::OUT_OF_RESOURCES,
        Code::StorageFailed | Code::ShuttingDown | Code::Internal => command::PROCESSING_FAILURE,
        Code::FrameUnknown => command::UNRECOGNISED,
        _ => command::CANNOT_UNDERSTAND,
    }
}
