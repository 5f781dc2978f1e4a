"""QRS detectors side by side on one annotated record: sensitivity and precision at 150 ms.

compare.py RECORD PROGRAM [DETECTOR ...]: all detectors, or the named ones.

Each detector gets the same samples. Ours takes both leads, as it does in use; the others take one lead by design and get the
first one left. A detector that fails is shown as such, never left out.
"""

import os
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import wfdb
from wfdb import processing

warnings.filterwarnings("ignore")

BEATS = set("NLRBAaJSVrFejnE/fQ?")
WINDOW_S = 0.150
NOISE_DB = 10.0


def noise(kind, n, fs, rng):
    t = np.arange(n) / fs
    if kind == "muscle":
        return rng.standard_normal(n)
    if kind == "wander":
        return np.sin(2 * np.pi * 0.21 * t) + np.sin(2 * np.pi * 0.46 * t + 1.0)
    # electrode motion: steps at random moments that fade, and a little muscle
    out, level = np.empty(n), 0.0
    steps = rng.random(n) < 0.5 / fs
    heights = 3.0 * rng.standard_normal(n)
    for i in range(n):
        if steps[i]:
            level += heights[i]
        level *= 1.0 - 1.0 / fs
        out[i] = level
    return out + 0.2 * rng.standard_normal(n)


def noisy(signal, kind, fs):
    if kind is None:
        return signal
    out = np.empty_like(signal)
    for lead in range(signal.shape[1]):
        rng = np.random.default_rng(77 + lead)
        own = signal[:, lead]
        added = noise(kind, len(own), fs, rng)
        power = np.var(own) / 10 ** (NOISE_DB / 10)
        out[:, lead] = own + added * np.sqrt(power / np.mean(added**2))
    return out


def ours(signal, fs, names, program, folder):
    """Through a WFDB record of 24-bit microvolts, the way any caller reads one."""
    wfdb.wrsamp("made", fs=fs, units=["mV"] * len(names), sig_name=names, p_signal=signal, fmt=["24"] * len(names),
                adc_gain=[1000.0] * len(names), baseline=[0] * len(names), write_dir=folder)
    text = subprocess.run([program, os.path.join(folder, "made.hea")], check=True, capture_output=True, text=True).stdout
    return np.array([float(line) for line in text.split()])


def xqrs(x, fs):
    detector = processing.XQRS(sig=x, fs=fs)
    detector.detect(verbose=False)
    return np.asarray(detector.qrs_inds) / fs


def gqrs(x, fs):
    return np.asarray(processing.gqrs_detect(sig=x, fs=fs)) / fs


def package(name):
    def run(x, fs):
        from ecgdetectors import Detectors

        return np.asarray(getattr(Detectors(fs), name)(x)) / fs

    return run


def neurokit(x, fs):
    import neurokit2

    return np.asarray(neurokit2.ecg_peaks(neurokit2.ecg_clean(x, fs), fs)[1]["ECG_R_Peaks"]) / fs


PEERS = [
    ("wfdb xqrs", xqrs),
    ("wfdb gqrs", gqrs),
    ("Pan-Tompkins", package("pan_tompkins_detector")),
    ("Hamilton", package("hamilton_detector")),
    ("neurokit2", neurokit),
]


def score(found, truth):
    """One found beat answers one annotated beat."""
    found, i, hits = np.sort(np.asarray(found, float)), 0, 0
    for t in truth:
        while i < len(found) and found[i] < t - WINDOW_S:
            i += 1
        if i < len(found) and found[i] <= t + WINDOW_S:
            hits += 1
            i += 1
    return 100.0 * hits / len(truth), 100.0 * hits / max(len(found), 1)


def main():
    record_name, program, wanted = sys.argv[1], sys.argv[2], sys.argv[3:]
    record = wfdb.rdrecord(record_name)
    marks = wfdb.rdann(record_name, "atr")
    fs, names = record.fs, record.sig_name
    truth = np.array([s for s, c in zip(marks.sample, marks.symbol) if c in BEATS]) / fs
    clean = record.p_signal
    cases = [("clean", None, [0, 1])]
    cases += [(f"10 dB {kind}", kind, [0, 1]) for kind in ("muscle", "wander", "electrode motion")]
    cases += [(f"{names[1 - keep]} left out", None, [keep]) for keep in (1, 0)]
    header = ["detector"] + [f"{case} Se / +P" for case, _, _ in cases]
    print(f"MIT-BIH {os.path.basename(record_name)}: {len(truth)} beats, window {WINDOW_S * 1000:.0f} ms\n")
    print("| " + " | ".join(header) + " |\n|" + "---|" * len(header))
    for name, detector in [("relay-ecg", None)] + PEERS:
        if wanted and name not in wanted:
            continue
        row = [name]
        for _, kind, leads in cases:
            signal = noisy(clean, kind, fs)[:, leads]
            try:
                if detector is None:
                    with tempfile.TemporaryDirectory() as folder:
                        found = ours(signal, fs, [names[n] for n in leads], program, folder)
                else:
                    found = detector(signal[:, 0], fs)
                row.append("{:.2f} / {:.2f}".format(*score(found, truth)))
            except Exception as error:  # a peer's failure is a result
                row.append(f"failed: {type(error).__name__}")
        print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
