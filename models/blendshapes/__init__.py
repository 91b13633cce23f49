"""The eyes' network: lids and gaze from two small views of the eyes themselves.

In the regressor's crop an eye is 17 px wide, which was too little to learn from: gaze erred by 13.0
degrees where a constant errs by 13.4. The views (``models/face/views.py``) are cut from the
picture, 64 x 40 px each, where the regressor says that the eyes are. Gaze is taken from here alone;
lids are mixed with what the regressor says of them (``stream/blendshapes.py``), which is better than
either. Of faces turned by at most 45 degrees:

==========================================================  ============  =========
measured on                                                 without       with it
==========================================================  ============  =========
rendered people of 85 px: gaze, degrees (a constant 13.4)   13.2          6.9
closed eyes at 0.5: recall, precision                       0.67, 0.75    0.73, 0.83
closed eyes: area under the ROC curve                       0.906         0.945
both eyes of a wink right at 0.5                            0.35          0.51
closed eyes of helen's even lines: area under the curve     0.96          1.00
peaks of blinks on five real clips                          0.50 to 0.82  0.54 to 0.92
==========================================================  ============  =========

Above: 960 pictures of ``mien synthesize evaluation-set``. The held-out eyes of the training, faces
of 25 to 155 px with a camera's losses and a fit's errors: gaze 7.8 degrees (a constant 13.7),
``eyeBlink`` 0.121, winks 62 %. It costs 0.05 ms to cut the views and 0.1 ms to read them, and in a
tracked frame, where caches are cold, about 0.25 ms of 1.6.

Missing: gaze against real truth, glasses with strong reflections, more closed eyes in small faces,
and the same for mouth and brows, which the regressor reads from the crop too.
"""
