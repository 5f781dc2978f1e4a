//! A chest from the side (left lateral): the patient looks to the left of the picture.

use super::body::Build;
use super::canvas::{Canvas, Knot, Matter, SOFT, curve, smooth};
use super::dice::Dice;

/// Front of the body, by height.
const FRONT: [(f32, f32); 8] = [
    (0.0, -28.0),
    (40.0, -40.0),
    (70.0, -72.0),
    (120.0, -104.0),
    (200.0, -124.0),
    (280.0, -126.0),
    (360.0, -118.0),
    (430.0, -116.0),
];
/// Back of the body, by height.
const BACK: [(f32, f32); 7] =
    [(0.0, 62.0), (40.0, 82.0), (90.0, 116.0), (160.0, 134.0), (240.0, 130.0), (330.0, 112.0), (430.0, 96.0)];
/// Front of the lungs, behind the breastbone.
const LUNG_FRONT: [(f32, f32); 6] =
    [(60.0, -18.0), (90.0, -56.0), (130.0, -80.0), (200.0, -98.0), (280.0, -100.0), (340.0, -92.0)];
/// Back of the lungs, beside the spine.
const LUNG_BACK: [(f32, f32); 6] =
    [(60.0, 30.0), (90.0, 72.0), (150.0, 104.0), (240.0, 104.0), (320.0, 90.0), (400.0, 72.0)];
/// Middle of the vertebral bodies.
const SPINE: [(f32, f32); 6] =
    [(-10.0, 18.0), (60.0, 34.0), (140.0, 72.0), (230.0, 82.0), (320.0, 66.0), (440.0, 40.0)];

/// Draws the chest.
pub(super) fn draw(canvas: &mut Canvas, build: Build, dice: &mut Dice) {
    let wide = build.girth;
    canvas.add(|x, y| {
        let (front, back) = (curve(&FRONT, y) * wide, curve(&BACK, y));
        let u = (2.0 * x - front - back) / (back - front);
        let through =
            curve(&[(0.0, 110.0), (50.0, 190.0), (120.0, 245.0), (300.0, 275.0), (430.0, 285.0)], y);
        if u.abs() >= 1.0 { 0.0 } else { SOFT * 0.86 * wide * through * (1.0 - u.abs().powf(2.8)).sqrt() }
    });
    // Shoulders and raised arms lie over the apices.
    canvas.add(|x, y| SOFT * 46.0 * (-((x - 14.0) / 58.0).powi(2) - ((y - 34.0) / 40.0).powi(2)).exp());
    canvas.tube(&[(10.0, 40.0, 36.0), (-60.0, 0.0, 38.0), (-130.0, -40.0, 40.0)], Matter::soft(0.4), 0.7);
    if build.breasts {
        canvas.tube(
            &[(-104.0, 200.0, 10.0), (-118.0, 245.0, 24.0), (-114.0, 285.0, 20.0)],
            Matter::soft(0.7),
            0.8,
        );
    }
    let domes = [dice.within(292.0, 306.0), dice.within(304.0, 318.0)];
    let mut lungs = canvas.clone();
    lungs.data.fill(0.0);
    lungs.add(|x, y| domes.iter().map(|dome| air(x, y, *dome)).sum());
    heart_in(&mut lungs);
    for value in &mut lungs.data {
        *value = value.max(0.0);
    }
    vessels(&mut lungs, dice);
    lungs.soften(0.5);
    for (body, air) in canvas.data.iter_mut().zip(&lungs.data) {
        *body -= SOFT * 0.8 * air;
    }
    canvas.tube(
        &[(2.0, 0.0, 8.0), (10.0, 80.0, 8.5), (24.0, 150.0, 8.5), (28.0, 176.0, 7.5)],
        Matter::soft(-0.95),
        0.9,
    );
    canvas.ball((31.0, 180.0), (7.0, 8.0), 0.0, 12.0, Matter::soft(-0.9));
    bones(canvas, dice);
    canvas.ball((-30.0, 350.0), (34.0, 20.0), -0.2, 22.0, Matter::soft(-0.85));
    canvas.soften(0.4);
}

/// Depth of one lung's air in mm; its floor falls from front to back.
fn air(x: f32, y: f32, dome: f32) -> f32 {
    let (front, back) = (curve(&LUNG_FRONT, y), curve(&LUNG_BACK, y));
    if y < 58.0 || x <= front || x >= back {
        return 0.0;
    }
    let u = (2.0 * x - front - back) / (back - front);
    let back_fall = ((x + 18.0) / 92.0).max(0.0);
    let front_fall = ((-18.0 - x) / 110.0).max(0.0);
    let floor = dome + 72.0 * back_fall.powf(2.3) + 18.0 * front_fall.powi(2);
    let above = floor - y;
    if above <= 0.0 {
        return 0.0;
    }
    let deep = curve(&[(58.0, 0.0), (75.0, 26.0), (110.0, 62.0), (180.0, 88.0), (300.0, 98.0)], y);
    deep * (1.0 - u.abs().powf(3.4)).sqrt() * (0.4 + 0.6 * (above / 46.0).min(1.0)).sqrt()
}

fn heart_in(lungs: &mut Canvas) {
    let push = Matter { shell: -1.0, cortex: 1.0, inside: 0.0 };
    // Ascending aorta, arch, descending aorta before the spine.
    let arch: Vec<Knot> = (0..=16)
        .map(|i| {
            let a = std::f32::consts::PI * (1.0 - i as f32 / 16.0);
            (22.0 + 38.0 * a.cos(), 152.0 - 30.0 * a.sin(), 13.5)
        })
        .collect();
    lungs.merged(&[
        &|c: &mut Canvas| c.ball((-44.0, 256.0), (60.0, 47.0), 0.62, 58.0, push),
        &|c: &mut Canvas| c.ball((-22.0, 232.0), (44.0, 52.0), 0.1, 50.0, push),
        &|c: &mut Canvas| {
            c.tube(&[(-36.0, 228.0, 22.0), (-24.0, 190.0, 17.0), (-16.0, 152.0, 13.5)], push, 1.3)
        },
        &|c: &mut Canvas| c.tube(&arch, push, 1.0),
        &|c: &mut Canvas| c.tube(&[(60.0, 152.0, 13.0), (66.0, 230.0, 12.0), (58.0, 330.0, 11.5)], push, 0.9),
        &|c: &mut Canvas| c.ball((20.0, 194.0), (23.0, 17.0), 0.3, 20.0, push),
    ]);
}

fn vessels(lungs: &mut Canvas, dice: &mut Dice) {
    let blood = Matter { shell: -1.25, cortex: 1.0, inside: 0.0 };
    let mut open: Vec<(f32, f32, f32, f32)> = (0..13)
        .map(|i| {
            let angle = 0.48 * i as f32 + dice.within(-0.15, 0.15);
            (22.0 + 12.0 * angle.cos(), 194.0 + 12.0 * angle.sin(), angle, dice.within(2.6, 4.2))
        })
        .collect();
    while let Some((x, y, angle, r)) = open.pop() {
        let length = dice.within(3.6, 5.6) * r + 9.0;
        let end = angle + dice.within(-0.25, 0.25);
        let (x1, y1) = (x + length * end.cos(), y + length * end.sin());
        lungs.tube(&[(x, y, r), (x1, y1, 0.82 * r)], blood, 1.0);
        let inside = (66.0..350.0).contains(&y1) && x1 > curve(&LUNG_FRONT, y1) && x1 < curve(&LUNG_BACK, y1);
        if inside && r > 0.75 {
            let spread = dice.within(0.28, 0.6);
            open.push((x1, y1, end + spread, r * dice.within(0.62, 0.76)));
            open.push((x1, y1, end - spread, r * dice.within(0.64, 0.78)));
        }
    }
}

fn bones(canvas: &mut Canvas, dice: &mut Dice) {
    let mut y = -6.0;
    for level in 0..17 {
        let grown = level as f32 / 16.0;
        let (height, half) = (16.5 + 11.0 * grown, 8.5 + 8.0 * grown);
        let middle = y + 0.5 * height;
        let x = curve(&SPINE, middle);
        let lean = (curve(&SPINE, middle + 6.0) - curve(&SPINE, middle - 6.0)) / 12.0;
        let (r, dy) = (0.46 * height, lean * half * 0.5);
        let body = Matter { shell: 0.012, cortex: 0.1, inside: 0.0042 };
        canvas.tube(&[(x - half * 0.62, middle + dy, r), (x + half * 0.62, middle - dy, r)], body, 2.0);
        // Arch and spinous process, sloping down and back.
        canvas.tube(
            &[(x + half, middle - 3.0, 3.6), (x + half + 16.0, middle + 5.0, 3.4)],
            Matter::bone(0.4),
            1.0,
        );
        canvas.tube(
            &[(x + half + 14.0, middle + 6.0, 3.6), (x + half + 34.0, middle + 22.0, 2.6)],
            Matter::bone(0.4),
            0.8,
        );
        y += height + 2.6 + 2.2 * grown;
    }
    // Breastbone: handle, body, sword.
    canvas.tube(&[(-62.0, 88.0, 7.0), (-86.0, 124.0, 5.5)], Matter::bone(0.22), 1.3);
    canvas.tube(&[(-88.0, 127.0, 5.5), (-106.0, 176.0, 5.0), (-113.0, 224.0, 5.0)], Matter::bone(0.22), 1.3);
    canvas.tube(&[(-113.0, 227.0, 3.0), (-112.0, 246.0, 2.0)], Matter::bone(0.4), 1.0);
    for rib in 2..=11 {
        for far in [0.0, 1.0] {
            let n = rib as f32;
            let top = 34.0 + 23.2 * n + 6.0 * far + dice.within(-1.0, 1.0);
            let reach = 0.96 - 0.004 * n * n + dice.within(-0.04, 0.04);
            let knots: Vec<Knot> = (0..=24)
                .map(|i| {
                    let t = i as f32 / 24.0;
                    let start = curve(&LUNG_BACK, top) + 12.0 + 4.0 * far;
                    let front = curve(&LUNG_FRONT, top + 80.0);
                    let x = start + (front - start) * reach * t;
                    let fall =
                        (40.0 + 5.0 * n) * smooth(-0.2, 1.1, t) + 12.0 * (t * std::f32::consts::PI).sin();
                    (x, top + fall, 4.6 + 1.2 * t)
                })
                .collect();
            canvas.tube(&knots, Matter { shell: 0.017, cortex: 0.2, inside: 0.0044 }, 0.6);
        }
    }
    // Borders of the two scapulae and a humeral head.
    for shift in [0.0, 13.0] {
        canvas.tube(
            &[(64.0 + shift, 70.0, 3.0), (96.0 + shift, 130.0, 2.4), (100.0 + shift, 205.0, 2.6)],
            Matter::bone(0.45),
            1.0,
        );
    }
}
