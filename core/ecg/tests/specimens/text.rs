//! XML formats.

use super::stored;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use relay_ecg::{Ecg, Lead};
use std::fmt::Write as _;

fn packed(lead: &Lead) -> String {
    let bytes: Vec<u8> = stored(lead).iter().flat_map(|v| (*v as i16).to_le_bytes()).collect();
    STANDARD.encode(bytes)
}

fn listed(lead: &Lead, between: &str) -> String {
    stored(lead).iter().map(i32::to_string).collect::<Vec<_>>().join(between)
}

/// HL7 aECG, one series, one sequence set.
pub fn aecg(ecg: &Ecg) -> String {
    let first = &ecg.rhythm[0];
    let mut out = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<AnnotatedECG xmlns=\"urn:hl7-org:v3\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">\n<component><series><code code=\"RHYTHM\"/>\
         <effectiveTime><low value=\"20240305093015.000+0800\"/></effectiveTime><component><sequenceSet>",
    );
    let _ = write!(
        out,
        "<component><sequence><code code=\"TIME_ABSOLUTE\"/><value xsi:type=\"GLIST_TS\"><head value=\"20240305093015.000\"/>\
         <increment value=\"{}\" unit=\"s\"/></value></sequence></component>",
        1.0 / first.rate_hz
    );
    for lead in &ecg.rhythm {
        let _ = write!(
            out,
            "<component><sequence><code code=\"MDC_ECG_LEAD_{}\"/><value xsi:type=\"SLIST_PQ\"><origin value=\"0\" unit=\"uV\"/>\
             <scale value=\"{}\" unit=\"uV\"/><digits>{}</digits></value></sequence></component>",
            lead.name(),
            lead.scale,
            listed(lead, " ")
        );
    }
    out.push_str("</sequenceSet></component></series></component></AnnotatedECG>\n");
    out
}

/// GE MUSE: I, II and the chest leads.
pub fn muse(ecg: &Ecg) -> String {
    let first = &ecg.rhythm[0];
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>\n<!DOCTYPE RestingECG SYSTEM \"restecg.dtd\">\n<RestingECG><MuseInfo>\
         <MuseVersion>9.0</MuseVersion></MuseInfo><TestDemographics><AcquisitionDate>03-05-2024</AcquisitionDate>\
         <AcquisitionTime>09:30:15</AcquisitionTime></TestDemographics><Waveform><WaveformType>Rhythm</WaveformType>\
         <SampleBase>{}</SampleBase><SampleExponent>0</SampleExponent>",
        first.rate_hz
    );
    for lead in ecg.rhythm.iter().filter(|l| !matches!(l.name(), "III" | "aVR" | "aVL" | "aVF")) {
        let _ = write!(
            out,
            "<LeadData><LeadByteCountTotal>{}</LeadByteCountTotal><LeadSampleCountTotal>{}</LeadSampleCountTotal>\
             <LeadAmplitudeUnitsPerBit>{}</LeadAmplitudeUnitsPerBit><LeadAmplitudeUnits>MICROVOLTS</LeadAmplitudeUnits>\
             <LeadID>{}</LeadID><LeadSampleSize>2</LeadSampleSize><WaveFormData>{}</WaveFormData></LeadData>",
            lead.len() * 2,
            lead.len(),
            lead.scale,
            lead.name(),
            packed(lead)
        );
    }
    out.push_str("</Waveform></RestingECG>\n");
    out
}

/// Philips Sierra, not compressed.
pub fn sierra(ecg: &Ecg, version: &str) -> String {
    let first = &ecg.rhythm[0];
    let labels: Vec<&str> = ecg.rhythm.iter().map(Lead::name).collect();
    let all: Vec<u8> = ecg.rhythm.iter().flat_map(stored).flat_map(|v| (v as i16).to_le_bytes()).collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<restingecgdata xmlns=\"http://www3.medical.philips.com\"><documentinfo>\
         <documenttype>SierraECG</documenttype><documentversion>{version}</documentversion></documentinfo>\
         <dataacquisition date=\"2024-03-05\" time=\"09:30:15\"><machine machineid=\"7\">made</machine></dataacquisition>\
         <waveforms><parsedwaveforms dataencoding=\"Base64\" compression=\"Uncompressed\" numberofleads=\"{}\" \
         leadlabels=\"{}\" samplespersecond=\"{}\" resolution=\"{}\" bitspersample=\"16\">{}</parsedwaveforms></waveforms>\
         </restingecgdata>\n",
        ecg.rhythm.len(),
        labels.join(" "),
        first.rate_hz,
        first.scale,
        STANDARD.encode(all)
    )
}

/// Mortara ELI.
pub fn mortara(ecg: &Ecg) -> String {
    let mut out = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ECG ACQUISITION_TIME=\"20240305093015\" VENT_RATE=\"72\">\
         <SUBJECT LAST_NAME=\"Zhang\" ID=\"P1\"/>",
    );
    for lead in &ecg.rhythm {
        let _ = write!(
            out,
            "<CHANNEL NAME=\"{}\" SAMPLE_FREQ=\"{}\" UNITS_PER_MV=\"{}\" DURATION=\"{}\" BITS=\"16\" FORMAT=\"SIGNED\" \
             ENCODING=\"BASE64\" DATA=\"{}\"/>",
            lead.name(),
            lead.rate_hz,
            1000.0 / lead.scale,
            lead.len(),
            packed(lead)
        );
    }
    out.push_str("</ECG>\n");
    out
}

/// GE CardioSoft.
pub fn cardiosoft(ecg: &Ecg) -> String {
    let first = &ecg.rhythm[0];
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<CardiologyXML><ObservationType>RestECG</ObservationType>\
         <ObservationDateTime><Hour>9</Hour><Minute>30</Minute><Second>15</Second><Day>5</Day><Month>3</Month><Year>2024</Year>\
         </ObservationDateTime><StripData><NumberOfLeads>{}</NumberOfLeads><SampleRate units=\"Hz\">{}</SampleRate>\
         <ChannelSampleCountTotal>{}</ChannelSampleCountTotal><Resolution units=\"uVperLsb\">{}</Resolution>",
        ecg.rhythm.len(),
        first.rate_hz,
        first.len(),
        first.scale
    );
    for lead in &ecg.rhythm {
        let _ = write!(out, "<WaveformData lead=\"{}\">{}</WaveformData>", lead.name(), listed(lead, ","));
    }
    out.push_str("</StripData></CardiologyXML>\n");
    out
}

/// Schiller.
pub fn schiller(ecg: &Ecg) -> String {
    let first = &ecg.rhythm[0];
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<examdescript><startdate>20240305</startdate><starttime>09:30:15</starttime>\
         <patdata><id>P1</id><lastname>Zhang</lastname></patdata><eventdata><event><wavedata><type>ECG_RHYTHMS</type><resolution>\
         <samplerate><value>{}</value><exponent>1</exponent></samplerate><yres><unitperbit>{}</unitperbit><units>UV</units></yres>\
         </resolution>",
        first.rate_hz, first.scale
    );
    for lead in &ecg.rhythm {
        let _ = write!(
            out,
            "<channel><name>{}</name><datastype>COMMASEPARATE</datastype><data>{}</data></channel>",
            lead.name(),
            listed(lead, ",")
        );
    }
    out.push_str("</wavedata></event></eventdata></examdescript>\n");
    out
}
