//! One association: negotiation, then messages until release.

use super::command::{self, Request};
use super::file_meta::{self, file_meta};
use super::wire::{MAX_PDU_BYTES, Pace, Wire, WireError};
use super::{Brought, Scp, Seat};
use crate::config::Dicom;
use crate::spool::{Announced, CONTRADICTS, Intake, Origin};
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
/// Between connecting and the association request (ARTIM, PS3.8 §9.1.5): a modality asks in its first packet, and a serial
/// bridge brings the request with 128 contexts within this time.
const REQUEST_DEADLINE: Duration = Duration::from_secs(5);

/// An accepted context: its abstract and transfer syntax.
type Contexts = BTreeMap<u8, String>;

/// Answers a connection from an address that may not come, or of which too many wait.
pub(super) async fn turn_away(stream: TcpStream, config: &Dicom, strange: bool) {
    let mut wire = Wire::new(stream, Duration::from_secs(config.idle_s));
    if let Ok(Ok(Pdu::AssociationRQ(_))) = tokio::time::timeout(REQUEST_DEADLINE, wire.next()).await {
        if strange {
            let reason = AssociationRJServiceUserReason::CallingAETitleNotRecognized;
            wire.reject(AssociationRJResult::Permanent, AssociationRJSource::ServiceUser(reason)).await;
        } else {
            full(&mut wire).await;
        }
    }
}

async fn full(wire: &mut Wire) {
    let reason = AssociationRJServiceProviderPresentationReason::LocalLimitExceeded;
    let source = AssociationRJSource::ServiceProviderPresentation(reason);
    wire.reject(AssociationRJResult::Transient, source).await;
}

/// Serves one association to its end; gives how many objects entered custody. `seat` is held until the association is
/// asked for: a connection that asks for nothing takes no place from a modality.
pub(super) async fn serve(
    scp: &Scp,
    stream: TcpStream,
    peer: SocketAddr,
    seat: Seat,
    brought: &Brought,
) -> Result<u64, WireError> {
    stream.set_nodelay(true)?;
    let mut wire = Wire::new(stream, Duration::from_secs(scp.config.idle_s));
    let request = tokio::time::timeout(REQUEST_DEADLINE, wire.next()).await;
    let Pdu::AssociationRQ(request) = request.map_err(|_| WireError::Idle(REQUEST_DEADLINE))?? else {
        wire.abort(AbortRQServiceProviderReason::UnexpectedPdu).await;
        return Err(WireError::Protocol("the first PDU is no association request"));
    };
    drop(seat);
    if let Err((reason, words)) = allowed(&scp.config, &request) {
        tracing::warn!(%peer, calling = %request.calling_ae_title, called = %request.called_ae_title, words, "association rejected");
        wire.reject(AssociationRJResult::Permanent, AssociationRJSource::ServiceUser(reason)).await;
        return Err(WireError::Protocol(words));
    }
    let Ok(_place) = scp.places.try_acquire() else {
        full(&mut wire).await;
        return Err(WireError::Protocol("too many associations (dicom.max_associations)"));
    };
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
    Data { context: u8, request: Request, intake: Intake, refused: Option<Refusal>, pace: Pace },
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
            (Some(Message::Data { context, request, mut intake, refused, mut pace }), false)
                if context == id =>
            {
                pace.add(value.data.len())?;
                let (bytes, is_last) = (value.data, value.is_last);
                intake.push(bytes.into()).await;
                if !is_last {
                    return Ok(Some(Message::Data { context, request, intake, refused, pace }));
                }
                self.end_of_data(id, &request, intake, refused).await?;
                Ok(None)
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
            let refused = unlawful(&request).err();
            let intake = self.intake(&request, syntax, refused.is_some());
            return Ok(Some(Message::Data { context, request, intake, refused, pace: self.wire.pace() }));
        }
        let status = match request.field {
            command::C_ECHO => command::SUCCESS,
            command::C_CANCEL => return Ok(None),
            _ => command::UNRECOGNISED,
        };
        self.wire.command(context, command::response(&request, status, "")).await?;
        Ok(None)
    }

    /// Begins to take a data set. A refusal is answered after the data set has been read to its end; names that are not
    /// lawful never reach a file.
    fn intake(&self, request: &Request, syntax: &str, refused: bool) -> Intake {
        if refused {
            return self.scp.spool.intake(Vec::new());
        }
        self.scp.spool.intake(file_meta(&request.sop_class, &request.sop_instance, syntax))
    }

    async fn end_of_data(
        &mut self,
        context: u8,
        request: &Request,
        intake: Intake,
        refused: Option<Refusal>,
    ) -> Result<(), WireError> {
        let origin = self.origin(request);
        let result = match refused {
            None => intake.admit(&origin).await,
            Some(refusal) => {
                tracing::warn!(calling = %self.calling, code = refusal.code.name(), field = %refusal.field,
                    reason = %refusal.reason, "object refused");
                if let Err(error) = intake.refuse(&origin, &refusal).await {
                    tracing::error!(calling = %self.calling, %error, "the list of refused files lacks an entry");
                }
                Err(refusal)
            }
        };
        let (status, comment) = match &result {
            Ok(admitted) => {
                self.brought.add(&self.scp.spool, &admitted.study);
                (command::SUCCESS, String::new())
            }
            Err(refusal) => {
                (status_of(refusal), format!("{} {} {}", refusal.code.name(), refusal.field, refusal.reason))
            }
        };
        self.stored += u64::from(result.is_ok());
        self.wire.command(context, command::response(request, status, &comment)).await
    }

    fn origin(&self, request: &Request) -> Origin {
        let rule = self.scp.config.rule.iter().find(|rule| rule.ae == self.calling);
        Origin {
            source: self.calling.clone(),
            name: Some(shown_name(&self.calling, &request.sop_instance)),
            class: rule.map_or(Class::Routine, |rule| rule.class),
            kind: rule.and_then(|rule| rule.kind),
            quiet: true,
            open: true,
            announced: Some(Announced {
                sop_class: request.sop_class.clone(),
                sop_instance: request.sop_instance.clone(),
            }),
        }
    }
}

/// What a person finds a refused object by, who has no file name: the device and the instance as it called it.
fn shown_name(calling: &str, instance: &str) -> String {
    let shown = instance.chars().map(|c| if c.is_ascii_graphic() { c } else { '?' }).take(MAX_UID_CHARS);
    format!("{calling} {}", shown.collect::<String>()).trim_end().to_owned()
}

/// Why a data set is refused by its command alone.
fn unlawful(request: &Request) -> Result<(), Refusal> {
    if request.field != command::C_STORE {
        let field = "(0000,0100) CommandField";
        return Err(Refusal::new(Code::FrameUnknown, field, "only C-STORE takes a data set"));
    }
    for (field, uid) in [
        ("(0000,0002) AffectedSOPClassUID", &request.sop_class),
        ("(0000,1000) AffectedSOPInstanceUID", &request.sop_instance),
    ] {
        InstanceUid::parse(uid).map_err(|e| Refusal::new(Code::RefusedUid, field, e.to_string()))?;
    }
    Ok(())
}

/// PS3.4 Table B.2-1.
fn status_of(refusal: &Refusal) -> u16 {
    if refusal.field == CONTRADICTS {
        return command::NOT_AS_ANNOUNCED;
    }
    match refusal.code {
        Code::StorageFull | Code::RefusedTooLarge | Code::Busy => command::OUT_OF_RESOURCES,
        Code::StorageFailed | Code::ShuttingDown | Code::Internal => command::PROCESSING_FAILURE,
        Code::FrameUnknown => command::UNRECOGNISED,
        _ => command::CANNOT_UNDERSTAND,
    }
}
