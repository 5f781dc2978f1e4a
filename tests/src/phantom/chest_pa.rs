//! A chest from behind (PA): lungs, heart, great vessels, ribs, spine, clavicles, scapulae, diaphragm, stomach bubble.
//!
//! The patient's right is on the left of the picture, as a PA film is hung. Numbers are mm of a middling adult.

use super::body::Build;
use super::canvas::{Canvas, Knot, Matter, SOFT, curve, smooth};
use super::dice::Dice;

/// How much of the beam-weakening of soft tissue the air in a lung takes away.
const LUNG_AIR: f32 = 0.80;

/// Half-width of the chest wall at the ribs, by height.
const CAGE: [(f32, f32); 9] = [
    (48.0, 20.0),
    (62.0, 58.0),
    (85.0, 86.0),
    (120.0, 108.0),
    (165.0, 122.0),
    (215.0, 130.0),
    (270.0, 134.0),
    (330.0, 133.0),
    (420.0, 128.0),
];
/// Half-width of the whole body: neck, shoulders, trunk.
const TRUNK: [(f32, f32); 9] = [
    (0.0, 58.0),
    (22.0, 62.0),
    (38.0, 92.0),
    (55.0, 150.0),
    (75.0, 186.0),
    (130.0, 182.0),
    (200.0, 160.0),
    (300.0, 158.0),
    (430.0, 162.0),
];
/// Depth of the body from front to back.
const DEPTH: [(f32, f32); 6] =
    [(0.0, 112.0), (40.0, 120.0), (90.0, 165.0), (180.0, 205.0), (300.0, 222.0), (430.0, 232.0)];

/// Draws the chest.
pub(super) fn draw(canvas: &mut Canvas, build: Build, dice: &mut Dice) {
    trunk(canvas, build);
    airways(canvas);
    let shape = Lungs::new(dice);
    let mut lungs = canvas.clone();
    lungs.data.fill(0.0);
    lungs.add(|x, y| shape.air(x, y));
    heart_in(&mut lungs, &shape);
    for value in &mut lungs.data {
        *value = value.max(0.0);
    }
    vessels(&mut lungs, dice);
    lungs.soften(0.5);
    for (body, air) in canvas.data.iter_mut().zip(&lungs.data) {
        *body -= SOFT * LUNG_AIR * air;
    }
    spine(canvas);
    for side in [-1.0, 1.0] {
        for rib in 1..=12 {
            draw_rib(canvas, side, rib, dice);
        }
        girdle(canvas, side, dice);
    }
    // Stomach bubble under the left half of the diaphragm.
    canvas.ball((70.0, 337.0), (33.0, 15.0), 0.12, 21.0, Matter::soft(-0.9));
    canvas.ball((88.0, 352.0), (18.0, 14.0), 0.4, 13.0, Matter::soft(-0.9));
    canvas.soften(0.4);
}

/// Flesh with neck, shoulders, upper arms and, where there are, breasts.
fn trunk(canvas: &mut Canvas, build: Build) {
    let wide = build.girth;
    canvas.add(|x, y| {
        let half = curve(&TRUNK, y) * (0.75 + 0.25 * wide);
        let u = (x / half).abs();
        if u >= 1.0 { 0.0 } else { SOFT * curve(&DEPTH, y) * wide * (1.0 - u.powf(3.2)).sqrt() }
    });
    for side in [-1.0, 1.0] {
        // Axillary fold and upper arm.
        canvas.tube(
            &[(side * 150.0, 92.0, 34.0), (side * 178.0, 190.0, 40.0), (side * 188.0, 300.0, 40.0)],
            Matter::soft(0.55),
            0.8,
        );
        canvas.ball((side * 92.0, 140.0), (62.0, 46.0), side * 0.5, 9.0, Matter::soft(1.0));
        if build.breasts {
            // Fullest below, fading out towards breastbone and collarbone.
            canvas.add(|x, y| {
                let (u, v) = ((x - side * 84.0) / 60.0, (y - 264.0) / if y > 264.0 { 52.0 } else { 96.0 });
                SOFT * 34.0 * (1.0 - u * u - v * v).max(0.0)
            });
        }
    }
    // Liver and spleen thicken what lies under the diaphragm.
    canvas.ball((-60.0, 390.0), (110.0, 95.0), 0.0, 22.0, Matter::soft(1.0));
}

fn airways(canvas: &mut Canvas) {
    let air = Matter::soft(-0.95);
    canvas.tube(&[(0.0, -5.0, 8.5), (1.0, 60.0, 9.0), (-3.0, 120.0, 9.0), (-2.0, 152.0, 9.0)], air, 0.9);
    canvas.tube(&[(-2.0, 152.0, 7.5), (-20.0, 172.0, 7.0), (-34.0, 190.0, 5.0)], air, 0.7);
    canvas.tube(&[(-2.0, 152.0, 7.0), (22.0, 176.0, 6.0), (44.0, 190.0, 4.5)], air, 0.7);
}

/// Where the lungs are and how deep.
#[derive(Debug, Clone, Copy)]
struct Lungs {
    /// Height of the right and left dome of the diaphragm.
    domes: [f32; 2],
    heart: f32,
}

impl Lungs {
    fn new(dice: &mut Dice) -> Self {
        let right = dice.within(292.0, 312.0);
        Self { domes: [right, right + dice.within(8.0, 16.0)], heart: dice.within(0.92, 1.04) }
    }

    /// The diaphragm's height at x.
    fn diaphragm(&self, x: f32) -> f32 {
        let dome = if x < 0.0 { self.domes[0] } else { self.domes[1] };
        let u = (x.abs() - 62.0) / 72.0;
        dome + 14.0 * u.min(0.0).powi(2) + if u > 0.0 { 38.0 * u.powf(2.6) } else { 0.0 }
    }

    /// Depth of air in mm.
    fn air(&self, x: f32, y: f32) -> f32 {
        let side = x.abs();
        let outer = curve(&CAGE, y) - 5.0;
        // The spine and what lies before it part the lungs.
        let inner = 13.0 + 5.0 * smooth(120.0, 260.0, y);
        if y < 46.0 || side >= outer || side <= inner {
            return 0.0;
        }
        let across = (side / outer).powf(3.4);
        let from_middle = ((side - inner) / 34.0).clamp(0.0, 1.0).sqrt();
        let deep = curve(
            &[(46.0, 0.0), (62.0, 46.0), (90.0, 92.0), (140.0, 138.0), (220.0, 165.0), (330.0, 172.0)],
            y,
        );
        let above = self.diaphragm(x) - y;
        let base = if above > 0.0 {
            0.26 + 0.74 * (above / 62.0).min(1.0).sqrt()
        } else {
            0.26 * (1.0 + above / 34.0).max(0.0)
        };
        deep * (1.0 - across).sqrt() * from_middle * base
    }
}

/// Heart and great vessels push air aside; mm of depth are taken off.
fn heart_in(lungs: &mut Canvas, shape: &Lungs) {
    let push = Matter { shell: -1.0, cortex: 1.0, inside: 0.0 };
    let h = shape.heart;
    // Left ventricle to the apex, right atrium, pulmonary trunk, aortic arch, superior vena cava, descending aorta.
    lungs.ball((24.0, 260.0), (66.0 * h, 48.0 * h), 0.56, 58.0, push);
    lungs.ball((-4.0, 250.0), (42.0 * h, 54.0 * h), 0.05, 52.0, push);
    lungs.ball((9.0, 204.0), (33.0, 44.0), 0.1, 46.0, push);
    lungs.ball((13.0, 139.0), (24.0, 22.0), 0.0, 34.0, push);
    lungs.tube(
        &[(-14.0, 20.0, 11.0), (-17.0, 100.0, 13.0), (-19.0, 150.0, 15.0), (-20.0, 220.0, 17.0)],
        push,
        1.5,
    );
    lungs.tube(&[(12.0, 20.0, 10.0), (13.0, 100.0, 13.0), (14.0, 190.0, 15.0)], push, 1.6);
    lungs.tube(&[(22.0, 136.0, 13.0), (21.0, 220.0, 12.5), (15.0, 330.0, 12.0)], push, 1.0);
}

/// Branches from the hila outwards, thinner at every fork. The list replaces recursion.
fn vessels(lungs: &mut Canvas, dice: &mut Dice) {
    let blood = Matter { shell: -1.0 / 0.74, cortex: 1.0, inside: 0.0 };
    for (side, y) in [(-1.0f32, 196.0f32), (1.0, 186.0)] {
        lungs.ball((side * 36.0, y), (12.0, 22.0), side * -0.35, 7.0, blood);
        let mut open: Vec<(f32, f32, f32, f32)> = Vec::new();
        for start in 0..9 {
            let angle = -1.35 + 0.34 * start as f32 + dice.within(-0.12, 0.12);
            let away = dice.within(5.0, 12.0);
            let from = (side * (33.0 + away * angle.cos()), y + 1.4 * away * angle.sin());
            open.push((from.0, from.1, angle, dice.within(3.0, 4.8)));
        }
        while let Some((x0, y0, angle, r)) = open.pop() {
            let length = dice.within(3.6, 5.6) * r + 9.0;
            let bend = dice.within(-0.25, 0.25);
            let (mid, end) = (angle + 0.5 * bend, angle + bend);
            let step = |x: f32, y: f32, a: f32, l: f32| (x + side * l * a.cos(), y + l * a.sin());
            let (x1, y1) = step(x0, y0, mid, 0.5 * length);
            let (x2, y2) = step(x1, y1, end, 0.5 * length);
            let inside = y2 > 55.0 && x2.abs() < curve(&CAGE, y2) - 9.0 && y2 < 330.0;
            lungs.tube(&[(x0, y0, r), (x1, y1, 0.9 * r), (x2, y2, 0.8 * r)], blood, 1.0);
            if inside && r > 0.75 {
                let spread = dice.within(0.28, 0.6);
                open.push((x2, y2, end + spread, r * dice.within(0.62, 0.76)));
                open.push((x2, y2, end - spread * 0.8, r * dice.within(0.66, 0.8)));
            }
        }
    }
}

/// Bodies, pedicles, transverse and spinous processes from C6 to L1.
fn spine(canvas: &mut Canvas) {
    let mut y = -8.0;
    for level in 0..17 {
        let grown = level as f32 / 16.0;
        let (height, half) = (16.5 + 11.0 * grown, 12.0 + 9.0 * grown);
        let middle = y + 0.5 * height;
        let spongy = Matter { shell: 0.0075, cortex: 0.08, inside: 0.0021 };
        canvas.tube(
            &[(-half * 0.55, middle, 0.45 * height), (half * 0.55, middle, 0.45 * height)],
            spongy,
            2.3,
        );
        for side in [-1.0, 1.0] {
            let eye = (side * half * 0.62, middle - 0.12 * height);
            canvas.ball(eye, (3.2, 4.6), 0.0, 3.2, Matter::bone(0.35));
            canvas.tube(
                &[(side * half * 0.7, middle - 2.0, 4.0), (side * (half + 15.0), middle - 5.0, 3.2)],
                Matter::bone(0.3),
                0.9,
            );
        }
        canvas.ball((0.0, middle + 0.42 * height), (2.4, 6.5), 0.0, 4.0, Matter::bone(0.4));
        y += height + 2.6 + 2.2 * grown;
    }
    // Breastbone, seen through the spine: only its handle shows.
    canvas.ball((0.0, 108.0), (22.0, 22.0), 0.0, 5.0, Matter::bone(0.3));
}

/// A rib as an arc of a tilted ellipse: from the spine back and outwards, round the side, forwards and down.
fn draw_rib(canvas: &mut Canvas, side: f32, rib: usize, dice: &mut Dice) {
    let n = rib as f32;
    let start = 40.0 + 23.4 * n + dice.within(-0.8, 0.8);
    let drop = match rib {
        1 => 34.0,
        2 => 56.0,
        11 => 62.0,
        12 => 40.0,
        _ => 62.0 + 5.4 * n,
    };
    // At the side the arc has fallen by half its drop: there it must meet the wall of the chest.
    let reach =
        if rib == 12 { 82.0 } else { curve(&CAGE, start + 0.42 * drop) + if rib == 1 { -8.0 } else { 0.0 } };
    let end: f32 = match rib {
        1 => 2.55,
        2 => 2.45,
        11 => 1.45,
        12 => 1.2,
        _ => 2.42 - 0.055 * (n - 3.0),
    };
    let steps = 44;
    let knots: Vec<Knot> = (0..=steps)
        .map(|i| {
            let t = i as f32 / steps as f32;
            let angle = 0.14 + t * (end - 0.14);
            let down = 0.5 * (1.0 - angle.cos());
            // The neck of the rib rises a little before it falls.
            let neck = -7.0 * (3.0 * t).min(1.0) * (1.0 - t);
            (side * reach * angle.sin(), start + drop * down + neck, 4.9 + 2.0 * t)
        })
        .collect();
    canvas.tube(&knots, Matter { shell: 0.026, cortex: 0.2, inside: 0.0072 }, 0.66);
}

/// Clavicle, scapula and upper arm.
fn girdle(canvas: &mut Canvas, side: f32, dice: &mut Dice) {
    let lift = dice.within(-5.0, 5.0);
    let clavicle: Vec<Knot> = (0..=24)
        .map(|i| {
            let t = i as f32 / 24.0;
            let x = 13.0 + 132.0 * t;
            let y = 97.0 - 34.0 * t + 7.0 * (t * 6.0).sin() * (1.0 - 0.4 * t) + lift * t;
            (side * x, y, 6.6 - 1.6 * (t * std::f32::consts::PI).sin())
        })
        .collect();
    canvas.tube(&clavicle, Matter::bone(0.3), 0.95);
    canvas.ball((side * 15.0, 98.0), (8.0, 9.0), 0.0, 3.0, Matter::bone(0.22));
    // Scapula: a thin blade with a thick outer border, glenoid, acromion.
    let blade = [
        (side * 138.0, 92.0, 17.0),
        (side * 132.0, 140.0, 22.0),
        (side * 124.0, 190.0, 13.0),
        (side * 120.0, 214.0, 5.0),
    ];
    canvas.tube(&blade, Matter { shell: 0.0165, cortex: 0.05, inside: 0.0 }, 0.12);
    canvas.tube(
        &[(side * 152.0, 92.0, 5.5), (side * 141.0, 150.0, 3.6), (side * 121.0, 216.0, 3.4)],
        Matter::bone(0.4),
        0.9,
    );
    canvas.tube(
        &[(side * 118.0, 74.0, 2.6), (side * 112.0, 130.0, 2.2), (side * 119.0, 214.0, 2.6)],
        Matter::bone(0.5),
        0.8,
    );
    canvas.tube(
        &[(side * 112.0, 80.0, 4.0), (side * 140.0, 66.0, 5.0), (side * 164.0, 52.0, 6.0)],
        Matter::bone(0.35),
        0.9,
    );
    // Head and shaft of the humerus.
    canvas.ball(
        (side * 171.0, 86.0),
        (23.0, 24.0),
        0.0,
        22.0,
        Matter { shell: 0.0165, cortex: 0.06, inside: 0.0046 },
    );
    canvas.tube(
        &[(side * 178.0, 98.0, 17.0), (side * 186.0, 140.0, 12.0), (side * 194.0, 260.0, 11.0)],
        Matter::bone(0.3),
        1.0,
    );
}
