/** The county's list of critical values: tier A rings and is read back, tier B is flagged. Names as sent to the clinic. */
export interface CriticalItem {
  code: string;
  tier: 'A' | 'B';
  zh: string;
  en: string;
}

const item = (code: string, zh: string, en: string): CriticalItem => ({ code, tier: code[2] as 'A' | 'B', zh, en });

const ECG: readonly CriticalItem[] = [
  item('E-A01', '首次发现急性心肌梗死', 'new acute MI pattern'),
  item('E-A02', '陈旧性心梗再次梗死', 're-infarction'),
  item('E-A03', '室扑 / 室颤', 'ventricular flutter or fibrillation'),
  item('E-A04', '尖端扭转 / 多形性室速', 'torsades or polymorphic VT'),
  item('E-A05', '持续性室速', 'sustained VT'),
  item('E-A06', '室上性心动过速（≥ 180 次/分）', 'SVT ≥ 180/min'),
  item('E-A07', '房颤 / 房扑伴快速心室率（≥ 180 次/分）', 'AF or flutter ≥ 180/min'),
  item('E-A08', '房颤伴心室预激', 'AF with pre-excitation'),
  item('E-A09', 'QTc 延长伴 R-on-T 室早', 'long QTc with R-on-T'),
  item('E-A10', '三度房室阻滞', 'third-degree AV block'),
  item('E-A11', '严重心动过缓（≤ 35 次/分）', 'severe bradycardia ≤ 35/min'),
  item('E-A12', '长 RR 间期（≥ 3.0 s）/ 心脏停搏', 'pause ≥ 3.0 s or asystole'),
  item('E-A13', '严重高钾血症表现', 'severe hyperkalaemia pattern'),
  item('E-A14', '二度 II 型 / 高度房室阻滞', 'Mobitz II or high-grade AV block'),
  item('E-B01', '新发左束支阻滞', 'new LBBB'),
  item('E-B02', 'Wellens / de Winter 改变', 'Wellens or de Winter pattern'),
  item('E-B03', 'ST 段压低 ≥ 0.1 mV（两个以上导联）', 'ST depression ≥ 0.1 mV in ≥ 2 leads'),
  item('E-B04', 'Brugada 1 型', 'Brugada type 1'),
  item('E-B05', 'QTc ≥ 500 ms', 'QTc ≥ 500 ms'),
  item('E-B06', '多源 / 成对室早', 'multifocal or paired PVC'),
  item('E-B07', '新发房颤', 'new AF'),
  item('E-B08', '心室率 40–45 或 150–180 次/分', 'ventricular rate 40–45 or 150–180'),
  item('E-B09', '起搏失灵', 'pacing failure'),
  item('E-B10', '显著低钾表现', 'marked hypokalaemia pattern'),
];

const XRAY: readonly CriticalItem[] = [
  item('X-A01', '张力性气胸（血气胸）', 'tension (haemo)pneumothorax'),
  item('X-A02', '消化道穿孔（膈下游离气体）', 'free sub-diaphragmatic air'),
  item('X-A03', '膈疝（外伤性）', 'traumatic diaphragmatic hernia'),
  item('X-A04', '脊柱骨折伴脱位 / 轴线成角', 'spinal fracture with dislocation or angulation'),
  item('X-A05', '大面积肺不张伴缺氧 / 一侧全肺不张', 'massive or whole-lung collapse'),
  item('X-A06', '大量或迅速增多的胸腔积液', 'massive or rapidly growing effusion'),
  item('X-A07', 'ARDS / 白肺', 'ARDS, white lung'),
  item('X-A08', '急性肺水肿；大量心包积液征象', 'acute pulmonary oedema; large pericardial effusion'),
  item('X-A09', '气管支气管异物 / 食管尖锐异物', 'airway or sharp oesophageal foreign body'),
  item('X-A10', '急性绞窄性肠梗阻征象', 'bowel obstruction with strangulation signs'),
  item('X-A11', '骨盆环不稳 / 多发伤 / 开放骨折', 'unstable pelvis, polytrauma, open fracture'),
  item('X-A12', '颈椎骨折脱位', 'cervical fracture or dislocation'),
  item('X-A13', '纵隔明显增宽（疑主动脉破裂 / 夹层）', 'widened mediastinum, ?aortic injury'),
  item('X-A14', '管路错位（气管插管入支气管、胃管入气道）', 'misplaced tube'),
  item('X-B01', '疑似活动性肺结核', 'suspected active TB'),
  item('X-B02', '新发肺肿块 / 疑恶性', 'new mass, ?malignancy'),
  item('X-B03', '少中量气胸、一叶不张、骨折无神经血管症状、重症肺炎征象', 'smaller pneumothorax, lobar collapse, closed fracture, severe pneumonia'),
];

export const criticalItems = (kind: string): readonly CriticalItem[] => (kind === 'ecg' ? ECG : XRAY);
