import type { components } from './generated';

type Schemas = components['schemas'];

export type Me = Schemas['Me'];
export type Role = Schemas['Role'];
export type WorkRow = Schemas['WorkRow'];
export type Worklist = Schemas['Worklist'];
export type WorkState = Schemas['WorkState'];
export type UrgencyClass = Schemas['Class'];
export type Kind = Schemas['Kind'];
export type Lease = Schemas['Lease'];
export type Patient = Schemas['Patient'];
export type Study = Schemas['Study'];
export type StudyObject = Schemas['StudyObject'];
export type PriorStudy = Schemas['PriorStudy'];
export type ReportVersion = Schemas['ReportVersion'];
export type ReportKind = Schemas['ReportKind'];
export type Delivery = Schemas['Delivery'];
export type DraftText = Schemas['DraftText'];
export type Draft = Schemas['Draft'];
export type Signed = Schemas['Signed'];
export type Critical = Schemas['Critical'];
export type FrameInfo = Schemas['FrameInfo'];
export type Lut = Schemas['Lut'];
export type VoiFunction = Schemas['VoiFunction'];
export type Spacing = Schemas['Spacing'];
export type SpacingBasis = Schemas['SpacingBasis'];
export type Waveform = Schemas['Waveform'];
export type EcgLead = Schemas['EcgLead'];
export type Throughput = Schemas['Throughput'];
export type ClinicFigure = Schemas['ClinicFigure'];
export type LiveEvent = Schemas['LiveEvent'];
export type ProblemBody = Schemas['Problem'];

/** The words of an empty report. */
export const EMPTY_TEXT: DraftText = { findings: '', impression: '', advice: '', result: '', ecg_class: '' };
